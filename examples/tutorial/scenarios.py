from collector_testkit import Feed, Scenario

from headlines import URL
from headlines import Headlines as Broken
from headlines_mended import Headlines as Mended

feed = Feed(URL, ticks=[[{"id": 1}, {"id": 2}], [{"id": 1}, {"id": 2}, {"id": 3}]])
broken = Scenario(program=Broken, feeds=[feed])
mended = Scenario(program=Mended, feeds=[feed], guarantee="effectively-once", resent_max=1)
