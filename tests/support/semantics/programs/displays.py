"""Programs that display every kind of data."""

from support.semantics.program import HALF_PAIRS, MODES, Difference, of_kind

program = of_kind("displays")

EARLIER_DISPLAY = Difference(
    reason="Cells that have ended do not change: an update of a display of an earlier cell is"
    " an output of the cell that made it.",
    modes=MODES,
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

PROGRAMS = (
    program(
        "text-kinds",
        """
        from IPython.display import *
        HTML('<b>bold</b>')
        # %%
        display(Markdown('*hi*'), Latex('$x$'), Math('x^2'), SVG('<svg xmlns="http://www.w3.org/2000/svg"/>'))
        # %%
        display(Javascript('1'), Pretty('pretty'), Code('x = 1', language='python'))
        """,
        masks=[r"(?s)<style>.*?</style>"],
    ),
    program(
        "json-kinds",
        """
        from IPython.display import GeoJSON, JSON, display
        JSON({'a': [1, None, 'x', 1.5, True]})
        # %%
        display(GeoJSON({'type': 'Point', 'coordinates': [0, 1]}), JSON([1], expanded=True))
        """,
    ),
    program(
        "plotly-s-kind",
        """
        figure = {'data': [{'type': 'bar', 'y': [1, 3]}], 'layout': {'title': {'text': 't'}}}
        display({'application/vnd.plotly.v1+json': figure}, raw=True)
        # %%
        display({'application/vnd.vegalite.v5+json': {'mark': 'bar'}, 'text/plain': 'chart'}, raw=True)
        # %%
        display({'application/json': {'only': 'json'}}, raw=True)
        """,
    ),
    program(
        "images",
        f"""
        import base64
        from IPython.display import Image, display
        data = base64.b64decode('{PNG}')
        Image(data)
        # %%
        display(Image(data, width=10, height=20, alt='dot'))
        # %%
        open('dot.png', 'wb').write(data)
        Image('dot.png'), Image(filename='dot.png')
        # %%
        Image(filename='dot.png', embed=True)
        # %%
        Image(url='https://example.org/x.png')
        """,
    ),
    program(
        "jpeg-gif-and-pdf",
        """
        import io
        from PIL import Image as Picture
        from IPython.display import Image, display
        def encoded(kind):
            out = io.BytesIO()
            Picture.new('RGB', (2, 2), 'red').save(out, kind)
            return out.getvalue()
        display(Image(encoded('jpeg'), format='jpeg'), Image(encoded('gif'), format='gif'))
        # %%
        Picture.new('RGB', (3, 3), 'blue')
        # %%
        display({'application/pdf': 'JVBERi0=', 'text/plain': 'a document'}, raw=True)
        """,
    ),
    program(
        "audio-video-and-frames",
        """
        import numpy as np
        from IPython.display import Audio, FileLink, IFrame, Video, display
        Audio(np.arange(4.0), rate=8000)
        # %%
        IFrame('https://example.org', 100, 50)
        # %%
        open('f.txt', 'w').close()
        display(FileLink('f.txt'), Video('movie.mp4'))
        """,
    ),
    program(
        "handles-and-updates",
        """
        handle = display('first', display_id='d')
        print('between')
        handle.update('second')
        # %%
        other = display(display_id=True)
        type(other).__name__
        # %%
        from IPython.display import update_display
        handle = display(1, display_id='x'); display(2, display_id='x'); update_display(3, display_id='x')
        """,
    ),
    program(
        "update-of-an-earlier-display",
        """
        handle = display('first', display_id=True)
        # %%
        handle.update('second')
        """,
        EARLIER_DISPLAY,
    ),
    program(
        "clear-output",
        """
        from IPython.display import clear_output
        print('gone'); clear_output(); print('stays')
        # %%
        print('gone'); clear_output(wait=True); print('stays')
        # %%
        for n in range(5):
            clear_output(wait=True)
            print('step', n)
        # %%
        print('stays'); clear_output(wait=True)
        # %%
        display('gone'); clear_output(); display('kept'); 1
        """,
    ),
    program(
        "rich-representations",
        """
        class Rich:
            def _repr_html_(self): return '<i>h</i>'
            def _repr_markdown_(self): return '*m*'
            def _repr_latex_(self): return '$l$'
            def _repr_json_(self): return {'j': 1}
            def _repr_svg_(self): return '<svg/>'
            def __repr__(self): return 'rich'
        Rich()
        # %%
        display(Rich(), include=['text/html'])
        # %%
        display(Rich(), exclude=['text/html'], metadata={'text/latex': {'k': 1}})
        # %%
        [Rich()], str(Rich())
        """,
    ),
    program(
        "bundles",
        """
        class Bundle:
            def _repr_mimebundle_(self, include=None, exclude=None):
                return {'text/plain': 'p', 'text/html': '<p>', 'x/y': 'z'}, {'text/html': {'m': 1}}
        Bundle()
        # %%
        class Partial:
            def _repr_mimebundle_(self, **options): return {'text/html': '<q>'}
            def __repr__(self): return 'q'
        Partial()
        # %%
        class Shown:
            def _ipython_display_(self): print('shown by itself')
        Shown()
        """,
    ),
    program(
        "pretty-printed",
        """
        list(range(200))
        # %%
        {n: 'x' * n for n in range(30)}
        # %%
        list(range(2000))
        # %%
        class Own:
            def _repr_pretty_(self, p, cycle): p.text('own')
        {'a': Own(), 'b': [Own()]}
        # %%
        a = [1]; a.append(a)
        a, {3, 1, 2}, frozenset({1}), (1,), ..., None
        """,
    ),
    program(
        "results-and-nothing",
        """
        5
        # %%
        5;
        # %%
        None
        # %%
        x = 5
        # %%
        x
        x + 1
        # %%
        # only a comment
        # %%
        'text', 1.5, b'bytes', 2 + 3j
        """,
    ),
    program(
        "data-frame",
        """
        import pandas as pd
        frame = pd.DataFrame({'a': [1, 2], 'b': ['x', None]})
        frame
        # %%
        frame.describe()
        # %%
        frame['a'], frame.dtypes
        # %%
        display(frame.head(1), frame.T)
        # %%
        pd.DataFrame({'n': range(1000)})
        # %%
        frame.info()
        """,
        masks=[r"memory usage.*"],
    ),
    program(
        "data-frame-options",
        """
        import pandas as pd
        pd.set_option('display.max_rows', 4)
        # %%
        pd.DataFrame({'n': range(10)})
        # %%
        with pd.option_context('display.max_rows', 2):
            display(pd.DataFrame({'n': range(10)}))
        pd.get_option('display.max_rows')
        """,
    ),
    program(
        "styled-data-frame",
        """
        import pandas as pd
        pd.DataFrame({'a': [1, 2]}).style.set_uuid('net').highlight_max()
        """,
        needs=["jinja2"],
    ),
    program(
        "figure-inline",
        """
        %matplotlib inline
        import matplotlib.pyplot as plt
        plt.plot([1, 2]); plt.title('t')
        # %%
        fig, ax = plt.subplots()
        ax.bar([1, 2], [3, 4]); None
        # %%
        plt.get_fignums()
        # %%
        fig
        """,
    ),
    program(
        "figure-shown-and-closed",
        """
        import matplotlib.pyplot as plt
        plt.plot([3, 1]); plt.show()
        print('after')
        # %%
        plt.figure(); plt.close()
        # %%
        plt.figure(figsize=(2, 1)); plt.plot([1]); plt.savefig('f.png')
        import os
        os.path.getsize('f.png') > 100
        """,
    ),
    program(
        "figure-kept-open",
        """
        %matplotlib inline
        import matplotlib.pyplot as plt
        %config InlineBackend.close_figures = False
        fig, ax = plt.subplots()
        ax.plot([1, 2]);
        # %%
        ax.plot([2, 1])
        plt.get_fignums()
        # %%
        plt.close('all')
        """,
    ),
    program(
        "figure-formats",
        """
        %matplotlib inline
        import matplotlib.pyplot as plt
        from matplotlib_inline.backend_inline import set_matplotlib_formats
        set_matplotlib_formats('retina')
        plt.figure(figsize=(1, 1)); plt.plot([1, 2]); plt.show()
        # %%
        set_matplotlib_formats('png')
        plt.rcParams['figure.dpi'] = 50
        plt.plot([1, 2]); plt.show()
        """,
    ),
    program(
        "nothing-in-a-bundle",
        """
        display({}, raw=True)
        # %%
        display()
        # %%
        display({'text/plain': ''}, raw=True)
        # %%
        display('a', 'b', 1)
        """,
    ),
    program(
        "representation-that-fails",
        """
        class Broken:
            def __repr__(self): raise ValueError('no repr')
        Broken()
        # %%
        class BrokenHtml:
            def _repr_html_(self): raise ValueError('no html')
            def __repr__(self): return 'plain'
        BrokenHtml()
        # %%
        class NotText:
            def __repr__(self): return 5
        NotText()
        # %%
        display(Broken())
        # %%
        print(Broken())
        """,
        masks=[r"(?s)File \S*(IPython|site-packages)\S*\.py.*?(?=\n\w+Error|Cell In)"],
    ),
    program(
        "representation-of-strange-text",
        """
        class Named:
            def __init__(self, text): self.text = text
            def __repr__(self): return self.text
        Named('ünïcode ✓ 💡')
        # %%
        Named('\\x00\\x07\\x1b[31mred\\x1b[0m')
        # %%
        Named('lone \\ud800 surrogate')
        # %%
        'lone \\ud800 surrogate'
        # %%
        Named('')
        """,
        HALF_PAIRS,
    ),
    program(
        "display-in-loops-and-functions",
        """
        def show(n):
            display(n)
            return n
        [show(n) for n in range(3)]
        # %%
        for n in range(2):
            print('print', n); display(n)
        """,
    ),
    program(
        "publish-by-hand",
        """
        from IPython.display import publish_display_data
        publish_display_data({'text/html': '<u>u</u>', 'text/plain': 'u'}, {'text/html': {'isolated': True}})
        # %%
        get_ipython().display_pub.publish({'text/plain': 'direct'})
        # %%
        import sys
        sys.displayhook('by the hook')
        """,
    ),
    program(
        "progress-bar",
        """
        from IPython.display import ProgressBar
        total = 0
        for n in ProgressBar(3):
            total += n
        total
        """,
    ),
)
