"""Programs that use libraries written in C, C++ and Rust, with threads of their own."""

from support.semantics.program import of_kind

program = of_kind("extensions")

PROGRAMS = (
    program(
        "numpy-linear-algebra",
        """
        import numpy as np
        a = np.arange(250_000.0).reshape(500, 500) % 7
        round(float((a @ a).sum()))
        # %%
        round(float((a @ a.T).trace()))
        # %%
        np.allclose(np.linalg.solve(a[:50, :50] + 50 * np.eye(50), np.ones(50)) @ (a[:50, :50] + 50 * np.eye(50)).T, 1)
        """,
    ),
    program(
        "scikit-learn-with-openmp",
        """
        import numpy as np
        from sklearn.ensemble import HistGradientBoostingClassifier
        x = np.arange(4000.0).reshape(2000, 2); y = (x[:, 0] > 1000).astype(int)
        model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, y)
        float(model.score(x, y))
        # %%
        float(model.score(x, y)), int(model.predict(x[:3]).sum())
        # %%
        float(HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, y).score(x, y))
        """,
    ),
    program(
        "scikit-learn-k-means-and-forest",
        """
        import numpy as np
        from sklearn.cluster import KMeans
        from sklearn.ensemble import RandomForestClassifier
        x = np.repeat([[0.0, 0.0], [9.0, 9.0]], 300, axis=0)
        sorted(map(int, np.bincount(KMeans(2, n_init=1, random_state=0).fit(x).labels_)))
        # %%
        y = x[:, 0] > 1
        float(RandomForestClassifier(5, n_jobs=2, random_state=0).fit(x, y).score(x, y))
        # %%
        float(RandomForestClassifier(5, n_jobs=2, random_state=0).fit(x, y).score(x, y))
        """,
    ),
    program(
        "lightgbm",
        """
        import lightgbm as lgb, numpy as np
        x = np.arange(3000.0).reshape(1000, 3); y = x[:, 0] * 2
        data = lgb.Dataset(x, y)
        model = lgb.train({'verbose': -1, 'num_threads': 2, 'seed': 0, 'deterministic': True}, data, 5)
        model.num_trees()
        # %%
        first = model.predict(x[:5])
        len(first)
        # %%
        again = lgb.train({'verbose': -1, 'num_threads': 2, 'seed': 0, 'deterministic': True}, lgb.Dataset(x, y), 5)
        bool(np.allclose(again.predict(x[:5]), first))
        """,
        needs=["lightgbm"],
    ),
    program(
        "xgboost",
        """
        import numpy as np, xgboost as xgb
        x = np.arange(3000.0).reshape(1000, 3); y = x[:, 0] * 2
        data = xgb.DMatrix(x, y)
        model = xgb.train({'nthread': 2, 'seed': 0}, data, 5)
        model.num_boosted_rounds()
        # %%
        len(model.predict(data))
        # %%
        xgb.train({'nthread': 2, 'seed': 0}, data, 5).num_boosted_rounds()
        """,
        needs=["xgboost"],
    ),
    program(
        "scipy-with-workers",
        """
        import numpy as np, scipy.fft
        a = np.arange(4096.0)
        round(abs(scipy.fft.fft(a, workers=2)[0]))
        # %%
        from scipy.spatial import cKDTree
        tree = cKDTree(np.arange(2000.0).reshape(1000, 2))
        int(tree.query([[10, 11]], workers=2)[1][0])
        # %%
        from scipy.optimize import minimize
        bool(abs(minimize(lambda v: (v[0] - 3) ** 2, [0]).x[0] - 3) < 1e-3)
        """,
    ),
    program(
        "thread-limits",
        """
        from threadpoolctl import threadpool_info, threadpool_limits
        import numpy as np
        limit = threadpool_limits(1)
        {pool['num_threads'] for pool in threadpool_info()}
        # %%
        {pool['num_threads'] for pool in threadpool_info()}
        # %%
        limit.restore_original_limits()
        np.ones((200, 200)).dot(np.ones((200, 200)))[0, 0]
        """,
    ),
    program(
        "pandas-groups-and-merges",
        """
        import numpy as np, pandas as pd
        frame = pd.DataFrame({'k': np.arange(10_000) % 7, 'v': np.arange(10_000.0)})
        frame.groupby('k')['v'].mean().round(1).tolist()
        # %%
        frame.merge(frame.groupby('k', as_index=False)['v'].max(), on='k').shape
        # %%
        frame.to_csv('frame.csv', index=False)
        pd.read_csv('frame.csv').equals(frame.astype({'k': 'int64'}))
        """,
    ),
    program(
        "pillow-and-freetype",
        """
        from PIL import Image, ImageDraw
        picture = Image.new('L', (20, 20))
        draw = ImageDraw.Draw(picture)
        # %%
        draw.rectangle((5, 5, 10, 10), fill=255)
        picture.getbbox(), picture.histogram()[255]
        # %%
        picture.save('p.png')
        Image.open('p.png').size
        """,
    ),
    program(
        "pyarrow",
        """
        import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
        table = pa.table({'a': list(range(1000))})
        pc.sum(table['a']).as_py()
        # %%
        pq.write_table(table, 't.parquet')
        pq.read_table('t.parquet').num_rows
        # %%
        pc.max(pq.read_table('t.parquet')['a']).as_py()
        """,
        needs=["pyarrow"],
    ),
    program(
        "numexpr",
        """
        import numexpr as ne, numpy as np
        a = np.arange(1_000_000)
        int(ne.evaluate('sum(a * 2)'))
        # %%
        int(ne.evaluate('sum(a * 3)'))
        """,
        needs=["numexpr"],
    ),
    program(
        "numba",
        """
        import numba, numpy as np
        @numba.njit(parallel=True)
        def total(a):
            s = 0
            for i in numba.prange(len(a)): s += a[i]
            return s
        int(total(np.arange(1000)))
        # %%
        int(total(np.arange(2000)))
        """,
        needs=["numba"],
    ),
    program(
        "polars",
        """
        import polars as pl
        frame = pl.DataFrame({'k': [1, 2, 1], 'v': [1, 2, 3]})
        frame.group_by('k').agg(pl.col('v').sum()).sort('k').rows()
        # %%
        frame.sort('v', descending=True).rows()
        # %%
        frame.lazy().filter(pl.col('v') > 1).collect().height
        """,
        needs=["polars"],
    ),
    program(
        "duckdb",
        """
        import duckdb
        db = duckdb.connect('d.db')
        db.execute('create table t as select range as x from range(100000)')
        db.execute('select sum(x) from t').fetchone()
        # %%
        db.execute('select count(*), max(x) from t').fetchone()
        # %%
        db.close()
        """,
        needs=["duckdb"],
    ),
    program(
        "torch",
        """
        import torch
        torch.manual_seed(0)
        a = torch.arange(10000.0).reshape(100, 100)
        (a @ a).sum().item() > 0
        # %%
        w = torch.zeros(3, requires_grad=True)
        (w * 2 - 1).pow(2).sum().backward()
        w.grad.tolist()
        # %%
        layer = torch.nn.Linear(4, 2)
        layer(torch.ones(1, 4)).shape
        """,
        needs=["torch"],
    ),
    program(
        "torch-data-loader-with-workers",
        """
        import torch
        data = torch.utils.data.TensorDataset(torch.arange(10.0))
        loader = torch.utils.data.DataLoader(data, batch_size=5, num_workers=2, multiprocessing_context='fork')
        batches = [b[0] for b in loader]
        [b.sum().item() for b in batches]
        # %%
        batches[0] += 1
        batches[0].sum().item()
        # %%
        sum(b[0].sum().item() for b in loader)
        """,
        needs=["torch"],
    ),
    program(
        "ctypes-callbacks-and-memory",
        """
        import ctypes
        libc = ctypes.CDLL(None)
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
        numbers = (ctypes.c_int * 4)(3, 1, 2, 0)
        callback = compare(lambda a, b: a[0] - b[0])
        # %%
        libc.qsort(numbers, 4, 4, callback)
        list(numbers)
        # %%
        memory = ctypes.create_string_buffer(b'hello', 10)
        view = memoryview(memory)
        # %%
        view[0:1] = b'J'
        memory.value
        """,
    ),
    program(
        "psutil-and-resources",
        """
        import psutil, resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        # %%
        resource.getrlimit(resource.RLIMIT_CORE)[0]
        # %%
        psutil.Process().is_running(), psutil.Process().name() != ''
        """,
    ),
)
