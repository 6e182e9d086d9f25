"""Programs that keep locks and databases open."""

from support.semantics.program import of_kind

program = of_kind("files")

PROGRAMS = (
    program(
        "flock",
        """
        import fcntl
        first = open('lock', 'w')
        fcntl.flock(first, fcntl.LOCK_EX)
        # %%
        second = open('lock', 'w')
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('held')
        # %%
        fcntl.flock(first, fcntl.LOCK_UN)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        second.close()
        """,
    ),
    program(
        "posix-locks-and-another-process",
        """
        import fcntl, subprocess, sys
        f = open('lock', 'w')
        fcntl.lockf(f, fcntl.LOCK_EX)
        TRY = 'import fcntl; fcntl.lockf(open("lock", "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)'
        subprocess.run([sys.executable, '-c', TRY], stderr=subprocess.DEVNULL).returncode
        # %%
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # %%
        subprocess.run([sys.executable, '-c', TRY], stderr=subprocess.DEVNULL).returncode
        # %%
        fcntl.lockf(f, fcntl.LOCK_UN)
        subprocess.run([sys.executable, '-c', TRY]).returncode
        """,
    ),
    program(
        "sqlite-across-cells",
        """
        import sqlite3
        db = sqlite3.connect('data.db')
        db.execute('create table t (x integer)')
        db.execute('insert into t values (1)')
        db.commit()
        # %%
        db.execute('insert into t values (2)')
        db.execute('select count(*) from t').fetchone()
        # %%
        other = sqlite3.connect('data.db', timeout=0.1)
        other.execute('select count(*) from t').fetchone()
        # %%
        db.rollback()
        db.execute('select count(*) from t').fetchone()
        # %%
        rows = db.executemany('insert into t values (?)', [(n,) for n in range(5)]).rowcount
        db.commit(); db.close()
        rows, other.execute('select count(*) from t').fetchone()
        """,
    ),
    program(
        "sqlite-with-a-write-ahead-log",
        """
        import sqlite3
        db = sqlite3.connect('wal.db', isolation_level=None)
        db.execute('pragma journal_mode=wal').fetchone()
        # %%
        db.execute('create table t (x)'); db.execute('insert into t values (7)')
        db.execute('select * from t').fetchall()
        # %%
        sqlite3.connect('wal.db').execute('select * from t').fetchall()
        # %%
        cursor = db.execute('select x from t union all select 8 order by x')
        cursor.fetchone()
        # %%
        cursor.fetchone(), db.close()
        """,
    ),
    program(
        "sqlite-in-memory",
        """
        import sqlite3
        db = sqlite3.connect(':memory:')
        db.executescript('create table t (x); insert into t values (1), (2)')
        cursor = db.execute('select x from t')
        next(cursor)
        # %%
        list(cursor), db.total_changes
        # %%
        db.create_function('twice', 1, lambda x: 2 * x)
        db.execute('select twice(x) from t').fetchall()
        """,
    ),
    program(
        "shelve-and-dbm",
        """
        import shelve
        shelf = shelve.open('shelf')
        shelf['a'] = [1, 2]
        # %%
        shelf['b'] = {'x': 1}
        shelf.sync()
        sorted(shelf)
        # %%
        shelf.close()
        with shelve.open('shelf') as again:
            print(dict(again))
        """,
    ),
    program(
        "log-handler-kept",
        """
        import logging
        logger = logging.getLogger('app')
        logger.addHandler(logging.FileHandler('app.log'))
        logger.warning('first')
        # %%
        logger.error('second %d', 2)
        open('app.log').read()
        """,
    ),
)
