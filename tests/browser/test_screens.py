# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import os
import re
import sys
import unittest
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = str(ROOT / 'scripts')
PICTURES = ROOT / '.cache' / 'screenshots'
# The models that the story fills and that must be seen
MODELS = {
    'prm.buyback',
    'prm.concession',
    'prm.interaction',
    'prm.partner',
    'prm.review',
    }


@unittest.skipUnless(
    os.path.isdir(SCRIPTS), "the scripts of the repository are needed")
class ScreensTestCase(unittest.TestCase):
    "Test the screens of the demonstration in the web client"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        sys.path.insert(0, SCRIPTS)
        cls.addClassCleanup(sys.path.remove, SCRIPTS)
        import screenshot

        import demo

        import web

        if os.environ.get('CI') != 'true':
            if not demo.loader().exists():
                raise unittest.SkipTest("the loader is not installed")
            if not screenshot.chromium():
                raise unittest.SkipTest("no chromium")
            try:
                import playwright  # noqa: F401
            except ImportError:
                raise unittest.SkipTest("no playwright")
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        PICTURES.mkdir(parents=True, exist_ok=True)
        port = web.free_port()
        config, database = demo.prepare(
            ROOT / '.cache' / 'demo', demo.STORY, port=port)
        web.client()
        url = stack.enter_context(web.server(config, port, database))
        cls.client = stack.enter_context(screenshot.browse(
                url, database, demo.LOGIN, demo.PASSWORD))

    def look(self, name):
        "Store a picture of the screen and check that it shows no error"
        name = re.sub(r'\W+', '-', name)
        self.client.page.screenshot(path=PICTURES / f'{name}.png')
        self.assertEqual(self.client.check(), [])

    def test_menu(self):
        "The menu opens"
        self.client.open_menu("Partner Relationship")
        self.look('menu')

    def test_screens(self):
        "Each entry of the menu opens in each of its views"
        seen = set()
        for name, action in self.client.menus('prm.menu_prm'):
            with self.subTest(menu=name):
                self.client.action(action)
                self.look(name)
                model = self.client.model()
                if model and self.client.open_record():
                    seen.add(model)
                    self.look(f'{name}-form')
                    for i in range(1, self.client.count_views()):
                        view = self.client.switch_view()
                        self.look(f'{name}-{i}-{view}')
                else:
                    for i in range(1, self.client.count_views() or 0):
                        view = self.client.switch_view()
                        if view == 'form':
                            break
                        self.look(f'{name}-{i}-{view}')
                self.client.close()
        self.assertLessEqual(MODELS, seen)
