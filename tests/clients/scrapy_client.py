"""A spider without a jar of its own, whose proxy comes from the environment."""

import json
import sys

import scrapy
from scrapy.crawler import CrawlerProcess

origin, value = sys.argv[1:]
found = {}


class Spider(scrapy.Spider):
    name = "shop"

    async def start(self):
        yield scrapy.Request(f"{origin}/set?v={value}", callback=self.show)

    def show(self, response):
        yield scrapy.Request(f"{origin}/show", callback=self.parse)

    def parse(self, response):
        found["page"] = response.text
        found["session"] = response.headers.get("X-Session-ID", b"").decode()


process = CrawlerProcess(
    {
        "COOKIES_ENABLED": False,
        "DOWNLOAD_DELAY": 0,
        "LOG_LEVEL": "WARNING",
        "RETRY_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "TELNETCONSOLE_ENABLED": False,
    }
)
process.crawl(Spider)
process.start()
print(json.dumps(found))
