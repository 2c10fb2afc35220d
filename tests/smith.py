"""A server that speaks LangSmith's protocol: in parts, packed, and in batches."""

from __future__ import annotations

import gzip
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import langsmith
import zstandard


class Smith:
    """What speaks LangSmith's protocol here, and keeps every byte that it is sent, unpacked.

    Attributes:
        bodies: What was posted, and patched.
        multipart: Whether it says that it takes runs in parts, packed.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.multipart = True
        smith = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sizes = {"scale_up_qsize_trigger": 1000, "scale_up_nthreads_limit": 16, "scale_down_nempty_trigger": 4}
                sizes |= {"size_limit": 100, "size_limit_bytes": 20971520, "use_multipart_endpoint": smith.multipart}
                flags = {"zstd_compression_enabled": smith.multipart}
                info = {"version": "1.0", "batch_ingest_config": sizes, "instance_flags": flags}
                self._say(json.dumps(info).encode())

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self._chunks() if self._is_chunked else self.rfile.read(length)
                smith.bodies.append(str(self.path).encode() + b"\n" + _unpacked(body, self.headers))
                self._say(b"{}")

            do_PATCH = do_POST

            @property
            def _is_chunked(self) -> bool:
                return self.headers.get("Transfer-Encoding") == "chunked"

            def _chunks(self) -> bytes:
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            def _say(self, body: bytes) -> None:
                self.send_response(202 if self.command == "POST" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def heard(self) -> str:
        """All that came, however it was quoted."""
        text = b"\n".join(self.bodies).decode(errors="replace")
        return text + "\n" + re.sub(r"(?:\\u[0-9a-fA-F]{4})+", _unquoted, text)

    def client(self, **more: Any) -> Any:
        """LangSmith's own client, to this server."""
        return langsmith.Client(api_url=self.url, api_key="key", **more)


def _unquoted(match: re.Match[str]) -> str:
    return json.loads(f'"{match[0]}"')


def _unpacked(body: bytes, headers: Any) -> bytes:
    match headers.get("Content-Encoding"):
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        case "gzip":
            return gzip.decompress(body)
        case _:
            return body
