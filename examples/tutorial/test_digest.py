import json


def test_a_crash_repeats_a_whole_digest(collector_lab):
    feed = collector_lab.feed("https://feed.example/items.json", key="id")
    feed.add({"id": "a", "title": "rain"}, {"id": "b", "title": "snow"})
    feed.tick()
    feed.add({"id": "c", "title": "sun"})
    collector_lab.file("/home/digest/")
    collector_lab.broker(call="digest:send_mail", records=ids_in_mail)
    result = collector_lab.check(
        "digest:main",
        argv=["https://feed.example/items.json", "--to", "me@example.com"],
        env={"DIGEST_HOME": "/home/digest"},
        guarantee="at-least-once",
    )
    assert result.resent_max == 3


def ids_in_mail(message):
    sender, receiver, text = json.loads(message.body)
    return [line.split(":")[0] for line in text.splitlines()]
