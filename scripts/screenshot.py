# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""Store pictures of the screens of the web client

A target is a model for its list (prm.partner), a record for its form
(prm.partner/1; prm.partner/last for the newest), an action by its XML id
(prm.act_partner_form) or the word menu.

The database is the file of --database, or a new one that the scenario of
--scenario fills, or an empty one with the module."""
import argparse
import doctest
import os
import re
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from environment import ROOT  # noqa: E402
from web import client, configure, free_port, server, trytond  # noqa: E402

ROOT = Path(ROOT)
LOGIN = 'admin'
PASSWORD = 'half-year'
FLAGS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--disable-dev-shm-usage',
    ]


def chromium():
    "Give the browser of the system"
    for name in [
            os.environ.get('CHROMIUM'), 'chromium', 'chromium-browser',
            'google-chrome', 'google-chrome-stable',
            '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
            '/Applications/Chromium.app/Contents/MacOS/Chromium']:
        if name and (path := shutil.which(name)):
            return path


class Client:
    "A browser that is logged in the web client"

    def __init__(self, page, url, database):
        self.page = page
        self.url = url
        self.database = database
        self.errors = []
        page.on('pageerror', lambda e: self.errors.append(f"page: {e}"))
        page.on('dialog', self._dialog)
        page.on('response', self._response)
        page.set_default_timeout(60000)

    def _dialog(self, dialog):
        if dialog.type != 'beforeunload':
            self.errors.append(f"dialog: {dialog.message}")
        dialog.accept()

    def _response(self, response):
        if response.status >= 500:
            self.errors.append(f"{response.status}: {response.url}")

    def login(self, login, password):
        page = self.page
        page.goto(f'{self.url}#{self.database}')
        page.fill('#login:visible', login)
        page.click('.login-dialog button[type=submit]')
        page.fill('input[type=password]:visible', password)
        page.keyboard.press('Enter')
        page.locator('#menu tr:visible').first.wait_for()
        self.settle()

    def settle(self):
        "Wait for the end of the requests and of the drawing"
        for _ in range(3):
            self.idle()
            self.page.wait_for_timeout(80)

    def idle(self):
        """Wait until nothing runs

        The client loses a key while an action of its tab runs, e.g. the one
        before; a dialog is part of the action that opens it."""
        self.page.wait_for_function("""() => {
                if (!window.jQuery) return true;
                if (jQuery.active) return false;
                const tabs = window.Sao && Sao.Tab && Sao.Tab.tabs;
                const tab = tabs && tabs.get_current();
                return !tab || !tab._action_running ||
                    jQuery('.modal:visible').length;
                }""")

    def open(self, path):
        "Open a tab by the path of its URL"
        tabs = self.page.locator('#tablist > li')
        count = tabs.count()
        self.page.goto(f'{self.url}#{self.database}/{path}')
        self.page.wait_for_function(
            "n => document.querySelectorAll('#tablist > li').length > n "
            "|| document.querySelector('.modal.in, .modal.show')", arg=count)
        self.settle()

    def action(self, id_):
        "Execute the action and wait for its tab"
        count = self.page.locator('#tablist > li').count()
        self.page.evaluate("id => { Sao.Action.execute(id, {}, null, {}) }",
            id_)
        self.page.wait_for_function(
            "n => document.querySelectorAll('#tablist > li').length > n "
            "|| document.querySelector('.modal.in, .modal.show')", arg=count)
        self.settle()

    def rpc(self, method, *params):
        return self.page.evaluate(
            """([method, params]) => Sao.rpc(
                {method: method, params: params.concat([{}])},
                Sao.Session.current_session, true, false).then(
                    null, e => { throw new Error(JSON.stringify(e)) })
            """, [method, params])

    def menus(self, root):
        "Give the name and the action of the entries of the menu below root"
        root = self.rpc('model.ir.model.data.get_id', root)
        for menu in self.rpc('model.ir.ui.menu.search_read', [
                    ['parent', 'child_of', [root]],
                    ], 0, None, [['id', 'ASC']], ['complete_name', 'action']):
            type_, _, id_ = (menu['action'] or '').partition(',')
            if type_ == 'ir.action.act_window':
                yield menu['complete_name'], int(id_)

    def open_menu(self, *names):
        "Expand or open the entry of the menu with the names"
        for name in names:
            row = self.page.locator('#menu tr:visible', has_text=name).first
            row.dblclick()
            self.settle()

    def _screen(self, code):
        result = self.page.evaluate("""() => {
                const tab = Sao.Tab.tabs.get_current();
                const screen = tab && tab.screen;
                // A board has no screen
                if (!screen) return null;
                // A promise of the client may stay open, e.g. behind a dialog
                const timeout = new Promise((resolve, reject) => setTimeout(
                        () => reject(new Error("timeout")), 30000));
                return Promise.race([(%s), timeout]);
                }""" % code)
        self.settle()
        return result

    def model(self):
        "Give the model of the current tab"
        return self._screen("screen.model_name")

    def current(self):
        "Give the id of the current record"
        return self._screen(
            "screen.current_record && screen.current_record.id")

    def ids(self):
        "Give the ids of the records of the list"
        return self._screen("screen.group.map(r => r.id)")

    def count_views(self):
        return self._screen("screen.views.length + screen.view_to_load.length")

    def switch_view(self):
        "Show the next view of the current tab and give its type"
        self._screen("screen.switch_view().then(() => true)")
        return self._screen("screen.current_view.view_type")

    def open_record(self):
        """Show the form of the first record and say if there is one

        The record is of the last tab with some."""
        tabs = self.page.locator('.tab-pane.active .tab-domain a:visible')
        for i in range(tabs.count() - 1, -1, -1):
            if self._screen("screen.group.length"):
                break
            tabs.nth(i).click()
            self.settle()
        if not self._screen("screen.group.length"):
            return False
        self._screen("""(
            screen.current_record = screen.group[0],
            screen.switch_view('form').then(() => true))""")
        return self._screen("screen.current_view.view_type") == 'form'

    def press(self, *keys):
        """Press the keys

        The client loses a click of the millisecond in which a field loses
        the focus."""
        for key in keys:
            self.idle()
            self.page.wait_for_timeout(10)
            self.page.keyboard.press(key)
        self.settle()

    def access(self, key):
        "Press Alt and the access key of a button or of a field"
        session = self.page.context.new_cdp_session(self.page)
        # The browser looks for the access key of a character, without which
        # the driver presses the key
        for type_ in ['rawKeyDown', 'char', 'keyUp']:
            session.send('Input.dispatchKeyEvent', {
                    'type': type_, 'modifiers': 1, 'key': key,
                    'code': f'Key{key.upper()}',
                    'text': key, 'unmodifiedText': key,
                    'windowsVirtualKeyCode': ord(key.upper())})
        session.detach()
        self.settle()

    def type(self, text):
        self.page.keyboard.type(text)
        self.page.wait_for_timeout(10)

    def reach(self, selector, key='Tab', limit=600):
        "Press the key until what the selector tells has the focus"
        for _ in range(limit):
            if self.page.evaluate(
                    "s => document.activeElement.matches(s)", selector):
                return
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(10)
        raise RuntimeError(f"The keyboard does not reach {selector}")

    def focused(self, selector):
        "Wait until what the selector tells has the focus"
        self.page.wait_for_function(
            "s => document.activeElement.matches(s)", arg=selector)
        self.settle()

    def appear(self, selector):
        "Wait until what the selector tells is shown"
        self.page.locator(selector).wait_for()
        self.settle()

    def complete(self, text):
        "Type the text and choose the first completion"
        self.type(text)
        self.page.locator('.dropdown.open li.completion a').first.wait_for()
        self.press('ArrowDown', 'Enter')

    def choose(self, name, limit=50):
        "Choose the entry of the open menu of the tool bar"
        count = self.page.locator('#tablist > li').count()
        for _ in range(limit):
            self.page.keyboard.press('ArrowDown')
            if self.page.evaluate(
                    "() => document.activeElement.textContent.trim()"
                    ) == name:
                break
            self.page.wait_for_timeout(10)
        else:
            raise RuntimeError(f"The keyboard does not reach {name}")
        self.press('Enter')
        self.page.wait_for_function(
            "n => document.querySelectorAll('#tablist > li').length > n",
            arg=count)
        self.settle()

    def go(self, name):
        "Open the entry of the menu by the global search"
        count = self.page.locator('#tablist > li').count()
        self.press('Control+k')
        self.complete(name)
        self.page.wait_for_function(
            "n => document.querySelectorAll('#tablist > li').length > n",
            arg=count)
        self.settle()

    def find(self, text):
        "Search the text in the list"
        self.press('Control+f', 'Control+a')
        self.type(text)
        self.press('Enter')

    def close(self):
        "Close the current tab without saving"
        count = self.page.locator('#tablist > li').count()
        self.page.evaluate("() => { Sao.Tab.tabs.close_current() }")
        self.settle()
        # Cancel, no and yes
        buttons = self.page.locator('.modal-footer:visible button')
        if buttons.count() == 3:
            buttons.nth(1).click()
        self.page.wait_for_function(
            "n => document.querySelectorAll('#tablist > li').length < n",
            arg=count)
        self.settle()

    def modal_error(self):
        "Give the text of an open error"
        modal = self.page.locator('.modal:visible')
        if modal.count():
            return modal.first.inner_text().strip()

    def check(self):
        "Give and forget the errors since the last check"
        errors, self.errors = self.errors, []
        if text := self.modal_error():
            errors.append(f"modal: {text}")
            self.page.locator('.modal-footer:visible button').last.click()
            self.page.wait_for_timeout(500)
        return errors


@contextmanager
def browse(url, database, login, password, size=(1400, 850)):
    from playwright.sync_api import sync_playwright

    executable = chromium()
    if not executable:
        raise RuntimeError("No chromium found")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=FLAGS)
        try:
            page = browser.new_page(
                viewport=dict(zip(['width', 'height'], size)))
            client = Client(page, url, database)
            client.login(login, password)
            yield client
        finally:
            browser.close()


def fill(scenario):
    "Run the scenario or the script on the database"
    from trytond.tests import test_tryton
    from trytond.tests.tools import activate_modules

    if not scenario:
        activate_modules('prm')
    elif scenario.endswith('.py'):
        activate_modules('prm')
        runpy.run_path(scenario, run_name='__main__')
    else:
        test = doctest.DocTestParser().get_doctest(
            Path(scenario).read_text(), {}, scenario, scenario, 0)
        doctest.DocTestRunner(
            checker=test_tryton.doctest_checker,
            optionflags=doctest.ELLIPSIS
            | doctest.IGNORE_EXCEPTION_DETAIL
            | doctest.REPORT_ONLY_FIRST_FAILURE
            | test_tryton.STRIP_DECIMAL,
            ).run(test)


def prepare(database, lang='en'):
    "Let the administrator see the menu of the first company"
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    Pool.start()
    pool = Pool(database)
    pool.init()
    with Transaction().start(database, 0):
        Company = pool.get('company.company')
        Item = pool.get('ir.module.config_wizard.item')
        Lang = pool.get('ir.lang')
        User = pool.get('res.user')
        user, = User.search([('login', '=', LOGIN)])
        companies = Company.search([], limit=1)
        lang, = Lang.search([('code', '=', lang)])
        User.write([user], {
                'password': PASSWORD,
                'actions': [('remove', [a.id for a in user.actions])],
                'companies': [('add', [c.id for c in companies])],
                'company': companies[0].id if companies else None,
                'language': lang.id,
                })
        Item.write(Item.search([]), {'state': 'done'})


def find(database, target):
    "Give the path or the id of the action of the target"
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    pool = Pool(database)
    if target == 'menu':
        return
    name, _, id_ = target.partition('/')
    with Transaction().start(database, 0, readonly=True):
        if name in dict(pool.iterobject()):
            if id_ == 'last':
                Model = pool.get(name)
                record, = Model.search([], order=[('id', 'DESC')], limit=1)
                id_ = str(record.id)
            return '/'.join(filter(None, ['model', name, id_]))
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id(target)
        except KeyError:
            sys.exit(f"{target} is neither a model nor an action")


def make_database(folder, options):
    "Make the SQLite database to show and give its name"
    from run_tests import cache_key

    name = 'prm'
    os.environ.update(
        DB_CACHE=str(ROOT / '.cache' / 'screens' / cache_key()),
        DB_NAME=name,
        TRYTOND_DATABASE_URI='sqlite://',
        TRYTOND_DATABASE__PATH=folder)
    if options.database:
        with sqlite3.connect(options.database) as source, \
                sqlite3.connect(Path(folder) / f'{name}.sqlite') as target:
            source.backup(target)
    else:
        fill(options.scenario)
    if options.lang != 'en':
        subprocess.run(trytond('admin') + [
                '-d', name, '-u', 'ir', '-l', options.lang], check=True)
    prepare(name, options.lang)
    return name


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='+', metavar='TARGET')
    parser.add_argument('--database', help="SQLite file, which is copied")
    parser.add_argument('--scenario',
        help="scenario (.rst) or script (.py) that fills the database")
    parser.add_argument('--lang', default='en')
    parser.add_argument('--size', default='1400x850')
    parser.add_argument('--output', default=str(
            ROOT / '.cache' / 'screenshots'))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    failed = False
    with tempfile.TemporaryDirectory(prefix='prm-screen-') as folder:
        database = make_database(folder, options)
        targets = [find(database, t) for t in options.targets]
        port = free_port()
        config = Path(folder) / 'trytond.conf'
        configure(config, 'sqlite://', folder, port, client())
        size = tuple(map(int, options.size.split('x')))
        with server(config, port, database) as url, \
                browse(
                    url, database, LOGIN, PASSWORD, size) as client_:
            for target, found in zip(options.targets, targets):
                if isinstance(found, int):
                    client_.action(found)
                elif found:
                    client_.open(found)
                name = re.sub(r'\W+', '-', target)
                picture = output / f'{name}-{options.lang}.png'
                client_.page.screenshot(path=picture)
                print(picture)
                for error in client_.check():
                    failed = True
                    print(f"  {error}")
    return failed


if __name__ == '__main__':
    sys.exit(main())
