"""Programs with sockets on loopback, in the kernel and between it and its children."""

from support.semantics.program import CHILDREN, CONNECTIONS, Difference, of_kind

program = of_kind("sockets")

ANSWERED = "A server in a thread ends in a crash; a fork or a trial is answered by the original's."
PORTS = "Ports belong to the container: one that the original listens on is in use in its copies."

PROGRAMS = (
    program(
        "listen-connect-accept-across-cells",
        """
        import socket
        server = socket.create_server(('127.0.0.1', 0))
        port = server.getsockname()[1]
        # %%
        client = socket.create_connection(('127.0.0.1', port), timeout=2)
        client.sendall(b'hello')
        # %%
        server.settimeout(2)
        connection, _ = server.accept()
        connection.settimeout(2)
        connection.recv(100)
        # %%
        connection.close()
        client.recv(10)
        """,
        CONNECTIONS,
    ),
    program(
        "close-and-bind-the-same-port",
        """
        import socket
        server = socket.create_server(('127.0.0.1', 0))
        port = server.getsockname()[1]
        # %%
        server.close()
        # %%
        server = socket.socket()
        server.bind(('127.0.0.1', port))
        server.listen()
        # %%
        server.close()
        socket.create_connection(('127.0.0.1', port), timeout=2)
        """,
        Difference(reason=PORTS, modes=("trial", "fork")),
        masks=[r"(?s)File \S*socket\.py.*(?=ConnectionRefusedError)"],
    ),
    program(
        "closed-server-refuses",
        """
        import socket
        server = socket.create_server(('127.0.0.1', 0))
        address = server.getsockname()
        # %%
        server.close()
        # %%
        socket.socket().connect_ex(address)
        """,
        Difference(reason=PORTS, modes=("fork",)),
    ),
    program(
        "http-server-in-a-thread",
        """
        import http.server, threading, urllib.request
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200); self.end_headers()
                self.wfile.write(self.path.encode())
            def log_message(self, *args): pass
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}'
        # %%
        urllib.request.urlopen(f'{url}/a', timeout=2).read()
        # %%
        urllib.request.urlopen(f'{url}/b', timeout=2).read()
        """,
        Difference(reason=ANSWERED, modes=("fault",)),
    ),
    program(
        "http-server-in-a-child",
        """
        import re, subprocess, sys, urllib.request
        open('index.html', 'w').write('<p>hi</p>')
        child = subprocess.Popen(
            [sys.executable, '-u', '-m', 'http.server', '0', '--bind', '127.0.0.1'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        url = re.search(r'http://\\S+/', child.stdout.readline())[0]
        # %%
        urllib.request.urlopen(url, timeout=2).read()
        # %%
        child.terminate()
        child.wait(5)
        """,
        CHILDREN,
    ),
    program(
        "datagrams",
        """
        import socket
        a = socket.socket(type=socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0)); a.settimeout(2)
        b = socket.socket(type=socket.SOCK_DGRAM)
        b.sendto(b'one', a.getsockname())
        # %%
        a.recvfrom(10)[0]
        # %%
        b.sendto(b'two', a.getsockname())
        a.recv(10)
        """,
        CONNECTIONS,
    ),
    program(
        "unix-socket-in-the-workspace",
        """
        import os, socket
        server = socket.socket(socket.AF_UNIX)
        server.bind('s'); server.listen(); server.settimeout(2)
        # %%
        client = socket.socket(socket.AF_UNIX)
        client.connect('s')
        client.sendall(b'x')
        server.accept()[0].recv(10)
        # %%
        server.close()
        os.remove('s')
        os.path.exists('s')
        """,
        CONNECTIONS,
    ),
    program(
        "socket-pair",
        """
        import socket
        a, b = socket.socketpair()
        a.settimeout(2); b.settimeout(2)
        a.sendall(b'one')
        # %%
        b.recv(10)
        # %%
        b.sendall(b'two')
        a.recv(10)
        # %%
        b.close()
        a.recv(10)
        """,
        CONNECTIONS,
    ),
    program(
        "socket-pair-and-a-forked-child",
        """
        import os, socket
        a, b = socket.socketpair()
        if not (pid := os.fork()):
            a.close()
            while data := b.recv(100):
                b.sendall(data.upper())
            os._exit(0)
        b.close()
        a.settimeout(2)
        a.sendall(b'one'), a.recv(10)
        # %%
        a.sendall(b'two'), a.recv(10)
        # %%
        a.close()
        os.waitpid(pid, 0)[1]
        """,
        CHILDREN,
    ),
    program(
        "selector-kept",
        """
        import selectors, socket
        a, b = socket.socketpair()
        selector = selectors.DefaultSelector()
        key = selector.register(a, selectors.EVENT_READ, 'a')
        selector.select(0)
        # %%
        b.send(b'x')
        [key.data for key, _ in selector.select(1)]
        # %%
        a.recv(1), selector.select(0), selector.unregister(a).data
        """,
        CONNECTIONS,
    ),
    program(
        "server-thread-and-client-kept",
        """
        import socket, socketserver, threading
        class Echo(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(line.upper())
        server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Echo)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = socket.create_connection(server.server_address, timeout=2)
        stream = client.makefile('rw')
        # %%
        print('hello', file=stream, flush=True)
        stream.readline()
        # %%
        print('again', file=stream, flush=True)
        stream.readline()
        """,
        CONNECTIONS,
    ),
    program(
        "xml-rpc",
        """
        import threading, xmlrpc.client, xmlrpc.server
        server = xmlrpc.server.SimpleXMLRPCServer(('127.0.0.1', 0), logRequests=False)
        server.register_function(lambda a, b: a + b, 'add')
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = xmlrpc.client.ServerProxy('http://127.0.0.1:%d' % server.server_address[1])
        proxy.add(1, 2)
        # %%
        proxy.add(3, 4)
        """,
        Difference(reason=ANSWERED, modes=("fault",)),
    ),
    program(
        "zmq-sockets-of-the-program",
        """
        import zmq
        context = zmq.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        pull.rcvtimeo = push.sndtimeo = 2000
        port = pull.bind_to_random_port('tcp://127.0.0.1')
        push.connect(f'tcp://127.0.0.1:{port}')
        push.send(b'one')
        pull.recv()
        # %%
        push.send(b'two')
        pull.recv()
        # %%
        push.close(0); pull.close(0); context.term()
        """,
        CONNECTIONS,
    ),
    program(
        "no-network",
        """
        import socket
        socket.gethostbyname('localhost')
        # %%
        len(socket.gethostname()) > 0, socket.getdefaulttimeout()
        # %%
        socket.setdefaulttimeout(3)
        # %%
        socket.getdefaulttimeout(), socket.socket().gettimeout()
        """,
    ),
)
