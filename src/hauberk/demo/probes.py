"""The small programs that the checks run inside pods: plain standard library, each prints one JSON document."""

REQUEST = """
import http.client, json, socket, sys
host, path, headers, body = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
addresses = sorted({entry[4][0] for entry in socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)})
connection = http.client.HTTPConnection(host, 80, timeout=10)
try:
    connection.request("POST" if body else "GET", path, body or None, headers)
    peer = connection.sock.getpeername()[0]
    answer = connection.getresponse()
    print(json.dumps({"status": answer.status, "body": answer.read().decode(), "peer": peer, "addresses": addresses}))
except OSError as error:
    print(json.dumps({"status": 0, "body": repr(error), "addresses": addresses}))
"""

LINE = """
import json, socket, sys
host, port, line = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(line.encode() + b"\\n")
        print(json.dumps({"answer": connection.recv(1000).decode()}))
except OSError as error:
    print(json.dumps({"answer": "", "error": repr(error)}))
"""

ESCAPE = """
import ctypes, json, os, socket, sys
found = {}
def attempt(name, what):
    try:
        found[name] = repr(what())
    except Exception as error:
        found[name] = None
def tcp(port):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"GET /config_dump HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
        answer = connection.recv(4000)
        if b"bootstrap" not in answer and b"configs" not in answer:
            raise OSError("not an admin interface")
        return answer
def mark():
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, 36, 1337)
def rules():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as line:
        # NFNL_MSG_BATCH_BEGIN for nf_tables, asking for an acknowledgement: refused without CAP_NET_ADMIN.
        line.settimeout(2)
        line.send(bytes.fromhex("14000000" "1000" "0500" "01000000" "00000000" "0000000a"))
        answer = line.recv(1000)
        if int.from_bytes(answer[16:20], sys.byteorder, signed=True) != 0:
            raise OSError("refused")
for port in (9901, 15000, 15020):
    attempt(f"admin port {port}", lambda: tcp(port))
for path in json.loads(sys.argv[1]):
    attempt(f"path {path}", lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
    if found[f"path {path}"] == "[]":
        found[f"path {path}"] = None
attempt("mark 1337", mark)
attempt("packet filter", rules)
attempt("raw socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
names = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        names.append(open(f"/proc/{pid}/comm").read().strip())
    except OSError:
        pass
found["envoy's process"] = "seen" if any("envoy" in name for name in names) else None
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
found["capabilities"] = None if int(status["CapEff"], 16) == 0 else status["CapEff"].strip()
found["new privileges"] = None if status["NoNewPrivs"].strip() == "1" else "possible"
print(json.dumps({"tried": len(found), "reached": {name: value for name, value in found.items() if value is not None}}))
"""

# Asks again and again, each time on a new connection; ends when a run of answers has been interrupted and has begun again.
INTERRUPTED = """
import json, socket, sys, time
host, patience = sys.argv[1], float(sys.argv[2])
address = socket.gethostbyname(host)
def once():
    try:
        with socket.create_connection((address, 80), timeout=2) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\\r\\nhost: " + host.encode() + b"\\r\\nconnection: close\\r\\n\\r\\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
deadline = time.monotonic() + patience
while not once() and time.monotonic() < deadline:
    time.sleep(0.01)
print("answering", flush=True)
answered = failed = again = 0
while time.monotonic() < deadline and again < 5:
    if once():
        again = again + 1 if failed else 0
        answered += 1
    else:
        failed += 1
        again = 0
    time.sleep(0.002)
print(json.dumps({"answered": answered, "failed": failed, "again": again}), flush=True)
"""
