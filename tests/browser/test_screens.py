# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import os
import re
import sys
import time
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

    def task(self, name):
        "Tell the task and check that the one before left no error"
        self.assertEqual(self.client.check(), [])
        return self.subTest(task=name)

    def values(self, *names):
        "Give the values of the current record as the server has them"
        client = self.client
        values, = client.rpc(f'model.{client.model()}.read', [
                client.current()], list(names))
        return [values[n] for n in names]

    def wait(self, func, expected):
        "Check what the function returns once the client has done its work"
        end = time.monotonic() + 30
        while (value := func()) != expected and time.monotonic() < end:
            self.client.page.wait_for_timeout(100)
        self.assertEqual(value, expected)

    def test_tasks(self):
        "The sales staff does its daily tasks with the keyboard alone"
        client = self.client
        tab = '.tab-pane.active '
        # A name and a number that no run before used
        unique = f'{time.time_ns() // 1_000_000:015d}'
        party, = client.rpc('model.party.party.create', [{
                    'name': f"Keyboard {unique}",
                    'contact_mechanisms': [['create', [
                                {'type': 'phone', 'value': unique}]]],
                    }])
        partner, = client.rpc(
            'model.prm.partner.create', [{'party': party}])
        client.rpc('model.prm.partner.onboard', [partner])
        channel, = client.rpc(
            'model.prm.channel.search', [['kind', '=', 'phone']], 0, 1, None)
        late, = client.rpc('model.prm.interaction.create', [{
                    'party': party, 'channel': channel, 'subject': unique,
                    'date': {
                        '__class__': 'datetime', 'year': 2008, 'month': 1,
                        'day': 1, 'hour': 9, 'minute': 0, 'second': 0,
                        'microsecond': 0}}])

        with self.task("find a partner by phone"):
            client.go("Partners")
            client.find(unique)
            self.wait(lambda: len(client.ids()), 1)
            client.press('Control+ArrowDown')
            self.wait(client.current, partner)
            client.press('Control+l')
            client.appear(tab + 'button[name="quick_interaction"]')
        with self.task("enter an interaction with one key"):
            client.access('q')
            client.focused('input[name="party"]')
            client.reach(tab + 'input[name="subject"]')
            client.type("Offer")
            client.press('Control+s')
            self.wait(
                lambda: client.current() > 0 and self.values(
                    'party', 'partner', 'subject', 'state'),
                [party, partner, "Offer", 'planned'])
        with self.task("note that it is done"):
            client.reach(tab + 'button[name="do"]')
            client.press('Enter')
            self.wait(lambda: self.values('state'), ['done'])
        with self.task("plan the next step"):
            client.reach(tab + 'button[name="follow_up"]')
            client.press('Enter')
            client.focused('.modal input[name="date"]')
            client.reach('.modal input[name="subject"]')
            client.press('Control+a')
            client.type("Next step")
            client.press('Enter')
            self.wait(lambda: self.values('next') != [None], True)
            next_, = self.values('next')
            self.assertEqual(
                client.rpc('model.prm.interaction.read', [next_], [
                        'subject', 'partner', 'state'])[0], {
                    'id': next_, 'subject': "Next step", 'partner': partner,
                    'state': 'planned'})
            client.press('Alt+w', 'Alt+w')
        with self.task("see what is overdue"):
            client.go("Interactions")
            client.reach(tab + '.tab-domain a[aria-controls="1"]')
            client.press('Enter')
            self.wait(lambda: late in client.ids(), True)
            client.press('Alt+w')
        with self.task("go from a party to its partner"):
            client.go("Parties")
            client.find(unique)
            self.wait(lambda: len(client.ids()), 1)
            client.press('Control+ArrowDown')
            self.wait(client.current, party)
            client.press('Control+Shift+r')
            client.choose("Partners")
            self.wait(client.model, 'prm.partner')
            self.wait(client.ids, [partner])
            client.press('Alt+w', 'Alt+w')
        with self.task("register a deal"):
            client.go("Deal Registrations")
            client.press('Alt+n')
            client.focused('input[name="partner"]')
            client.complete(unique)
            client.reach(tab + 'input[name="party"]')
            client.complete(unique)
            client.reach(tab + 'input[name="description"]')
            client.type("Machine")
            client.press('Control+s')
            client.reach(tab + 'button[name="submit"]')
            client.press('Enter')
            self.wait(
                lambda: self.values('partner', 'description', 'state'),
                [partner, "Machine", 'submitted'])
            client.press('Alt+w')
        with self.task("submit a gesture"):
            client.go("Commercial Gestures")
            client.press('Alt+n')
            client.focused('input[name="party"]')
            client.complete(unique)
            client.reach(tab + 'select[name="kind"]')
            client.type("Free")
            client.reach(tab + 'select[name="reason"]')
            client.type("Qual")
            for name in ['amount', 'cost']:
                client.reach(tab + f'input[name="{name}"]')
                client.type("40")
            client.press('Tab', 'Control+s')
            client.reach(tab + 'button[name="submit"]')
            client.press('Enter')
            self.wait(
                lambda: self.values('party', 'kind', 'state'),
                [party, 'free_service', 'submitted'])
            client.press('Alt+w')
        with self.task("see who was not contacted for 30 days"):
            client.go("Partners")
            client.find("Days without Contact: >30")
            self.wait(
                lambda: bool(ids := client.ids()) and partner not in ids,
                True)
        with self.task("hold the weekly meeting"):
            plan, = client.rpc(
                'model.prm.plan.search', [['state', '=', 'running']], 0, 1,
                None)
            action, = client.rpc('model.prm.plan.action.create', [{
                        'plan': plan, 'name': unique,
                        'due_date': {
                            '__class__': 'date', 'year': 2008, 'month': 1,
                            'day': 1}}])
            client.go("Weekly Meeting")
            client.find(unique)
            self.wait(client.ids, [action])
            client.press('Control+ArrowDown')
            self.wait(client.current, action)
            client.access('o')
            self.wait(lambda: self.values('state', 'agenda'), ['done', 'done'])
            client.press('Control+e')
            client.press('ArrowDown', 'Enter')
            self.wait(
                lambda: client.rpc(
                    'model.prm.plan.read', [plan],
                    ['last_meeting'])[0]['last_meeting'] is not None, True)
            client.press('Alt+n')
            client.focused('input[name="name"]')
            client.type(f"Next {unique}")
            client.press('Control+s')
            self.wait(
                lambda: client.current() > 0 and self.values(
                    'plan', 'name', 'state'),
                [plan, f"Next {unique}", 'planned'])
            client.press('Alt+w')
        with self.task("export the list"):
            client.reach(tab + 'a.navbar-brand', key='Shift+Tab')
            client.press('Enter')
            client.reach('#export', key='ArrowDown')
            client.press('Enter')
            client.reach('.modal .btn-primary')
            with client.page.expect_download() as download:
                client.press('Enter')
            content = Path(download.value.path()).read_text()
            self.assertIn("Days without Contact", content.splitlines()[0])
            client.reach('.modal .btn-link', key='Shift+Tab')
            client.press('Enter')
        self.look('tasks')
