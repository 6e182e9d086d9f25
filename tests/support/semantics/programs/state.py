"""Programs that keep state of the interpreter and of libraries across cells."""

from support.semantics.program import of_kind

program = of_kind("state")

PROGRAMS = (
    program(
        "names-and-closures",
        """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
                return n
            return up
        up = counter()
        up()
        # %%
        up(), up()
        # %%
        del counter
        up()
        # %%
        counter
        """,
    ),
    program(
        "generators-half-consumed",
        """
        def squares():
            total = 0
            while True:
                got = yield total
                total += got or 1
        g = squares()
        next(g), g.send(10)
        # %%
        g.send(5), next(g)
        # %%
        g.close()
        next(g)
        """,
    ),
    program(
        "iterators",
        """
        import itertools
        chain, cycle = iter([1, 2, 3]), itertools.cycle('ab')
        next(chain), next(cycle)
        # %%
        next(cycle), list(chain)
        # %%
        a, b = itertools.tee(itertools.count(), 2)
        next(a), next(a), next(b)
        # %%
        next(a), next(b)
        """,
    ),
    program(
        "weak-references-and-collection",
        """
        import gc, weakref
        class Node: pass
        node = Node(); node.self = node
        ref = weakref.ref(node, lambda _: log.append('collected'))
        log = []
        # %%
        ref() is node
        # %%
        del node
        gc.collect() > 0, ref(), log
        # %%
        d = weakref.WeakValueDictionary(); kept = Node(); d['a'] = kept
        len(d)
        # %%
        del kept
        len(d)
        """,
    ),
    program(
        "finalizers",
        """
        class Loud:
            def __del__(self): print('deleted')
        loud = Loud()
        # %%
        del loud
        # %%
        import weakref
        class Quiet: pass
        q = Quiet()
        f = weakref.finalize(q, print, 'finalized')
        f.alive
        # %%
        del q
        f.alive
        """,
    ),
    program(
        "context-variables",
        """
        import contextvars
        var = contextvars.ContextVar('var', default='unset')
        token = var.set('in cell 1')
        var.get()
        # %%
        var.get()
        # %%
        context = contextvars.copy_context()
        context.run(var.set, 'inside'), context[var], var.get()
        """,
    ),
    program(
        "random-states",
        """
        import random, numpy as np
        random.seed(1); np.random.seed(1)
        random.random(), float(np.random.rand())
        # %%
        random.random(), float(np.random.rand())
        # %%
        rng = np.random.default_rng(5)
        int(rng.integers(1000))
        # %%
        int(rng.integers(1000)), random.randrange(1000), int(np.random.randint(1000))
        """,
    ),
    program(
        "random-states-saved",
        """
        import random, numpy as np
        python, array = random.getstate(), np.random.get_state()
        a = random.random(), float(np.random.rand())
        # %%
        random.setstate(python); np.random.set_state(array)
        # %%
        a == (random.random(), float(np.random.rand()))
        """,
    ),
    program(
        "secrets-differ",
        """
        import secrets, uuid
        first = secrets.token_hex(8), uuid.uuid4()
        # %%
        second = secrets.token_hex(8), uuid.uuid4()
        first[0] != second[0], first[1] != second[1]
        """,
    ),
    program(
        "hashes-and-identities",
        """
        saved = hash('text'), id(saved) if 'saved' in globals() else 0
        obj = object(); address = id(obj)
        # %%
        hash('text') == saved[0], id(obj) == address
        # %%
        {'a', 'b', 'c'} == set('cab'), hash(1.5), hash((1, 2)) == hash((1, 2))
        """,
    ),
    program(
        "pickling-of-classes-of-cells",
        """
        import pickle
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: int
            y: int = 0
        data = pickle.dumps(Point(1))
        # %%
        pickle.loads(data), pickle.loads(data) == Point(1), Point.__module__
        # %%
        @dataclass
        class Point:
            x: int
        pickle.loads(data), isinstance(pickle.loads(data), Point)
        # %%
        pickle.dumps(lambda: 1)
        """,
        masks=[r"(?s)(Cell|Pickl|Attr).*?(?=attribute|local)", r"attribute.*|local.*"],
    ),
    program(
        "cloudpickle-and-copies",
        """
        import cloudpickle, copy
        def f(x): return x + offset
        offset = 10
        data = cloudpickle.dumps(f)
        # %%
        offset = 20
        cloudpickle.loads(data)(1), f(1)
        # %%
        class Tree:
            def __init__(self, *children): self.children = children
        t = Tree(Tree()); u = copy.deepcopy(t)
        len(u.children), u is t
        """,
    ),
    program(
        "classes-and-instances",
        """
        import abc, enum
        from functools import singledispatch, total_ordering
        class Color(enum.Enum): RED = 1
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
        @singledispatch
        def kind(x): return 'any'
        # %%
        @kind.register
        def _(x: int): return 'int'
        kind(1), kind('a'), Color(1), Color['RED'] is Color.RED
        # %%
        class Square(Shape):
            def area(self): return 4
        Shape.register(int)
        Square().area(), isinstance(3, Shape)
        # %%
        Shape()
        """,
    ),
    program(
        "redefined-class",
        """
        class A:
            def hi(self): return 'old'
        a = A()
        # %%
        class A:
            def hi(self): return 'new'
        a.hi(), A().hi(), isinstance(a, A)
        # %%
        a.__class__ = A
        a.hi()
        """,
    ),
    program(
        "caches",
        """
        from functools import cache, cached_property, lru_cache
        @lru_cache(maxsize=2)
        def slow(n): return n * n
        slow(1), slow(2), slow(1)
        # %%
        slow.cache_info()
        # %%
        slow(3), slow(2), slow.cache_info().misses
        # %%
        slow.cache_clear(); slow.cache_info()
        """,
    ),
    program(
        "pandas-without-copies",
        """
        import pandas as pd
        frame = pd.DataFrame({'a': [1, 2, 3]})
        part = frame[frame.a > 1]
        # %%
        part.loc[:, 'a'] = 0
        frame.a.tolist(), part.a.tolist()
        # %%
        groups = iter(frame.groupby('a'))
        next(groups)[0]
        # %%
        [key for key, _ in groups]
        """,
    ),
    program(
        "chunks-of-a-file",
        """
        import pandas as pd
        pd.DataFrame({'n': range(10)}).to_csv('n.csv', index=False)
        chunks = pd.read_csv('n.csv', chunksize=4)
        next(chunks).n.sum()
        # %%
        next(chunks).n.tolist()
        # %%
        [len(c) for c in chunks]
        """,
    ),
    program(
        "coroutine-never-awaited",
        """
        async def f(): pass
        c = f()
        # %%
        c.close()
        # %%
        type(c).__name__, c.cr_running
        """,
    ),
    program(
        "structures-of-collections",
        """
        from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
        import heapq, bisect, array
        d, q, h = defaultdict(list), deque(maxlen=3), []
        d['a'].append(1); q.extend(range(5)); heapq.heappush(h, 3)
        # %%
        d['b']; q.append(9); heapq.heappush(h, 1)
        dict(d), q, heapq.heappop(h)
        # %%
        a = array.array('i', range(5)); m = memoryview(a); m[0] = 50
        a, Counter('banana').most_common(1), ChainMap({'x': 1}, {'x': 2})['x']
        """,
    ),
    program(
        "large-arrays",
        """
        import numpy as np
        a = np.zeros((1000, 1000)); b = a[::2]
        # %%
        a += 1
        b.sum(), b.base is a
        # %%
        b[:] = 5
        a.mean()
        # %%
        del a
        b.shape
        """,
    ),
    program(
        "deleted-and-shadowed-names",
        """
        x = y = 1
        # %%
        del x
        x
        # %%
        import math
        math = 'text'
        math
        # %%
        import math
        math.pi
        # %%
        _ = 'mine'
        # %%
        5
        # %%
        _
        """,
    ),
    program(
        "futures-of-typing",
        """
        from typing import NamedTuple, TypedDict, get_type_hints
        class Row(NamedTuple):
            a: int
            b: str = 'x'
        Row(1)
        # %%
        get_type_hints(Row), Row(2)._replace(b='y'), Row._fields
        # %%
        match Row(3):
            case Row(a=3): print('matched')
        """,
    ),
)
