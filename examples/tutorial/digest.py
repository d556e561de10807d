"""Mails the new items of a feed. A program of its own: arguments, environment, urllib, a mail server."""

import argparse
import json
import os
import urllib.request
from pathlib import Path


def send_mail(sender, receiver, text):
    raise NotImplementedError("in production, this talks to a mail server")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--to", required=True)
    options = parser.parse_args()
    home = Path(os.environ["DIGEST_HOME"])
    sent = (home / "sent").read_text().split() if (home / "sent").exists() else []
    with urllib.request.urlopen(options.url) as answer:
        items = json.load(answer)
    fresh = [item for item in items if item["id"] not in sent]
    if fresh:
        text = "\n".join(f"{item['id']}: {item['title']}" for item in fresh)
        send_mail("digest@example.com", options.to, text)
        (home / "sent.new").write_text(" ".join(item["id"] for item in items))
        (home / "sent.new").replace(home / "sent")
