# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The database that receives a folder: activation and what must be there."
import datetime as dt
import logging
import re
import unicodedata

import trytond.config as config
from trytond import __series__, backend
from trytond.cache import Cache
from trytond.pool import Pool
from trytond.transaction import Transaction, TransactionError, inactive_records

from .exceptions import LoadError

__all__ = ['Database', 'Setup', 'in_transaction']

logger = logging.getLogger(__name__)

MODULES = ['prm', 'account_fr']
CURRENCY = ('EUR', '978', "Euro", "€")

BUYBACK_TYPE = 'account_fr.dettes_diverses_autres'
BUYBACK_PARENT = '456'
BUYBACK_ACCOUNT = ('45671', "Associés - Rachat de titres à payer")
BANK_ACCOUNT = '5121'
SHARES_ACCOUNT = '2611'
REVENUE_ACCOUNT = '706'
EXPENSE_ACCOUNT = '6226'


def in_transaction(name, user, function, context=None, **extras):
    """Return what the function returns in a transaction of the database

    The function is called again when the database asks for it.
    """
    retry = config.getint('database', 'retry')
    while True:
        with Transaction().start(
                name, user, context=context, **extras) as transaction:
            try:
                return function()
            except TransactionError as error:
                error.fix(extras)
                rollback(transaction)
            except backend.DatabaseOperationalError:
                if not retry:
                    raise
                retry -= 1
                rollback(transaction)


def rollback(transaction):
    transaction.rollback()
    transaction.tasks.clear()


class Database:
    "The activation of the modules"

    def __init__(self, name):
        self.name = name

    @property
    def exists(self):
        try:
            backend.Database(self.name).connect()
            return True
        except Exception:
            return False

    @property
    def initialized(self):
        return self.exists and backend.Database(self.name).connect().test()

    def create(self):
        "Create the database itself"
        with Transaction().start(None, 0, autocommit=True) as transaction:
            transaction.database.create(transaction.connection, self.name)

    def drop(self):
        "Drop the database itself"
        backend.Database(self.name).connect().close()
        Pool.stop(self.name)
        Cache.drop(self.name)
        with Transaction().start(None, 0, autocommit=True) as transaction:
            transaction.database.drop(transaction.connection, self.name)

    def missing_modules(self):
        "The modules that are still to activate"
        if not self.initialized:
            return set(MODULES)
        pool = Pool(self.name)
        pool.init()
        with Transaction().start(self.name, 0, readonly=True):
            pool = Pool()
            Module = pool.get('ir.module')
            missing = {'prm'}
            try:
                Company = pool.get('company.company')
            except KeyError:
                Company = None
            if not Company or not Company.search([], limit=1):
                missing.update(MODULES)
            return missing - {m.name for m in Module.search([
                        ('state', '=', 'activated'),
                        ])}

    def activate(self, modules, languages, language, password):
        """Activate the modules with what they depend on

        A new database gets the password for its administrator.
        """
        database = backend.Database(self.name).connect()
        new = not database.test()
        if new:
            database.init()
        pool = Pool(self.name)
        languages = set(languages)
        if not new:
            pool.init()
            with Transaction().start(self.name, 0, readonly=True):
                Lang = pool.get('ir.lang')
                languages.update(l.code for l in Lang.search([
                            ('translatable', '=', True),
                            ]))
        pool.init(
            update=list(modules), lang=list(languages), activatedeps=True)

        def configure():
            Lang = pool.get('ir.lang')
            Lang.write(Lang.search([
                        ('code', 'in', list(languages)),
                        ('translatable', '=', False),
                        ]), {'translatable': True})
            if new:
                self._configure(language, password)
        in_transaction(self.name, 0, configure)

    def _configure(self, language, password):
        pool = Pool()
        Configuration = pool.get('ir.configuration')
        User = pool.get('res.user')
        configuration = Configuration(1)
        configuration.series = __series__
        configuration.language = language
        configuration.save()
        with inactive_records():
            admin, = User.search([('login', '=', 'admin')])
        admin.password = password
        admin.save()


class Setup:
    """The company and its accounting

    The settings of an existing company are kept, those of a new one are the
    usual ones in France.
    """

    def __init__(self, folder, language='en', company=None, bank=None):
        self.folder = folder
        self.language = language
        self.name = company
        self.bank_code = bank or BANK_ACCOUNT
        self.company = None
        self.users = []

    def find_company(self):
        "Set the company of the database, if there is one"
        pool = Pool()
        Company = pool.get('company.company')
        companies = Company.search([])
        if self.name and companies:
            named = [
                c for c in companies
                if self.name in {c.party.name, c.party.code}]
            if not named:
                raise LoadError('msg_load_company_unknown',
                    company=self.name, companies=', '.join(
                        c.rec_name for c in companies))
            companies = named
        if len(companies) > 1:
            raise LoadError('msg_load_company_many', companies=', '.join(
                    c.rec_name for c in companies))
        if companies:
            self.company, = companies
        return self.company

    def create_company(self, password):
        "Create the company with its chart of accounts and its users"
        pool = Pool()
        Company = pool.get('company.company')
        Party = pool.get('party.party')
        User = pool.get('res.user')
        party, = Party.create([{
                    'name': self.name or self.default_name(),
                    'lang': self.lang.id,
                    'addresses': [('create', [{}])],
                    }])
        self.company, = Company.create([{
                    'party': party.id,
                    'currency': self.get_currency().id,
                    # the one of the folder
                    'timezone': 'UTC',
                    }])
        user = User(Transaction().user)
        user.companies = [*user.companies, self.company]
        user.company = self.company
        user.language = self.lang
        user.actions = []
        user.save()
        Item = pool.get('ir.module.config_wizard.item')
        Item.write(Item.search([]), {'state': 'done'})
        with Transaction().set_context(
                company=self.company.id, companies=[self.company.id]):
            self.create_chart()
            self.create_accounts()
            self.create_journal()
            self.create_users(password)

    @property
    def lang(self):
        pool = Pool()
        Lang = pool.get('ir.lang')
        langs = Lang.search([
                ('code', '=', self.language),
                ('translatable', '=', True),
                ], limit=1)
        return langs[0] if langs else Lang.get('en')

    def default_name(self):
        return self.folder.path.resolve().name.replace('_', ' ').title()

    def get_currency(self):
        pool = Pool()
        Currency = pool.get('currency.currency')
        code, numeric_code, name, symbol = CURRENCY
        currencies = Currency.search([('code', '=', code)], limit=1)
        if not currencies:
            currencies = Currency.create([{
                        'name': name,
                        'symbol': symbol,
                        'code': code,
                        'numeric_code': numeric_code,
                        'rates': [('create', [{
                                        'date': dt.date(1900, 1, 1),
                                        'rate': 1,
                                        }])],
                        }])
        return currencies[0]

    def create_chart(self):
        pool = Pool()
        CreateChart = pool.get('account.create_chart', type='wizard')
        ModelData = pool.get('ir.model.data')
        session, _, _ = CreateChart.create()
        CreateChart.execute(session, {
                'account': {
                    'company': self.company.id,
                    'account_template': ModelData.get_id('account_fr.root'),
                    },
                }, 'create_account')
        wizard = CreateChart(session)
        properties = wizard.default_properties([])
        properties.update({
                'company': self.company.id,
                'category_account_revenue': self.account(REVENUE_ACCOUNT).id,
                'category_account_expense': self.account(EXPENSE_ACCOUNT).id,
                })
        CreateChart.execute(
            session, {'properties': properties}, 'create_properties')
        CreateChart.delete(session)

    def account(self, code):
        pool = Pool()
        Account = pool.get('account.account')
        accounts = Account.search([
                ('company', '=', self.company.id),
                ('code', '=', code),
                ], limit=1)
        if not accounts:
            raise LoadError('msg_load_account_missing',
                code=code, company=self.company.rec_name)
        return accounts[0]

    def create_accounts(self):
        "Create the accounts that the French chart does not have"
        pool = Pool()
        Account = pool.get('account.account')
        ModelData = pool.get('ir.model.data')
        Type = pool.get('account.account.type')
        type_, = Type.search([
                ('company', '=', self.company.id),
                ('template', '=', ModelData.get_id(BUYBACK_TYPE)),
                ])
        code, name = BUYBACK_ACCOUNT
        payable, = Account.create([{
                    'code': code,
                    'name': name,
                    'type': type_.id,
                    'parent': self.account(BUYBACK_PARENT).id,
                    'company': self.company.id,
                    'reconcile': True,
                    'party_required': True,
                    }])
        self.configure(payable)

    def configure(self, payable):
        "Set the accounts of the buybacks"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        ModelData = pool.get('ir.model.data')
        configuration = Configuration(1)
        configuration.buyback_journal = ModelData.get_id(
            'account.journal_miscellaneous')
        configuration.buyback_account_payable = payable
        configuration.buyback_account_debit = self.account('10131')
        configuration.buyback_account_premium = self.account('10688')
        configuration.buyback_account_interest = self.account('66188')
        configuration.save()

    def create_journal(self):
        pool = Pool()
        Journal = pool.get('account.journal')
        Journal.create([{
                    'name': "Banque",
                    'code': 'BNQ',
                    'type': 'cash',
                    }])

    def create_users(self, password):
        """Create a user for the director, the accountant and each employee
        who is still there"""
        pool = Pool()
        Group = pool.get('res.group')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')

        def group(id_):
            return Group(ModelData.get_id(id_)).id

        roles = {
            'director': ("Director", [
                    'prm.group_prm_manager', 'prm.group_associate',
                    'party.group_party_admin', 'account.group_account']),
            'accountant': ("Accountant", [
                    'prm.group_associate', 'account.group_account',
                    'account.group_account_admin']),
            }
        common = {
            'password': password,
            'language': self.lang.id,
            'companies': [('add', [self.company.id])],
            'company': self.company.id,
            }
        self.users.extend(User.create([{
                        **common,
                        'login': login,
                        'name': name,
                        'groups': [('add', list(map(group, groups)))],
                        } for login, (name, groups) in roles.items()]))

    def create_employee_users(self, employees, password):
        "Create a user for each employee"
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        logins = {u.login for u in User.search([])}
        vlist = []
        for employee in employees:
            login = base = slugify(employee.party.name)
            i = 1
            while login in logins:
                i += 1
                login = f'{base}.{i}'
            logins.add(login)
            vlist.append({
                    'login': login,
                    'name': employee.party.name,
                    'password': password,
                    'language': self.lang.id,
                    'groups': [('add', [ModelData.get_id('prm.group_prm')])],
                    'companies': [('add', [self.company.id])],
                    'company': self.company.id,
                    'employees': [('add', [employee.id])],
                    'employee': employee.id,
                    })
        self.users.extend(User.create(vlist))

    def create_fiscalyears(self, dates):
        """Create the calendar years of the dates that have no fiscal year

        Return their number and the dates that another year prevents.
        """
        pool = Pool()
        FiscalYear = pool.get('account.fiscalyear')
        ModelData = pool.get('ir.model.data')
        Sequence = pool.get('ir.sequence.strict')
        existing = FiscalYear.search([('company', '=', self.company.id)])
        missing, prevented = set(), set()
        for date in dates:
            if any(f.start_date <= date <= f.end_date for f in existing):
                continue
            start, end = dt.date(date.year, 1, 1), dt.date(date.year, 12, 31)
            if any(f.start_date <= end and f.end_date >= start
                    for f in existing):
                prevented.add(date)
            else:
                missing.add(date.year)
        years = sorted(missing)
        kinds = {
            'move': ('account.sequence_type_account_move', ''),
            'out_invoice': (
                'account_invoice.sequence_type_account_invoice', 'F%s-'),
            'out_credit_note': (
                'account_invoice.sequence_type_account_invoice', 'A%s-'),
            'in_invoice': (
                'account_invoice.sequence_type_account_invoice', 'FF%s-'),
            'in_credit_note': (
                'account_invoice.sequence_type_account_invoice', 'AF%s-'),
            }
        keys = [(year, kind) for year in years for kind in kinds]
        vlist = []
        for year, kind in keys:
            type_, prefix = kinds[kind]
            vlist.append({
                    'name': str(year),
                    'sequence_type': ModelData.get_id(type_),
                    'company': self.company.id,
                    'prefix': prefix % year if prefix else None,
                    'padding': 4 if prefix else 0,
                    })
        sequences = dict(zip(keys, Sequence.create(vlist)))
        fiscalyears = FiscalYear.create([{
                    'name': str(year),
                    'start_date': dt.date(year, 1, 1),
                    'end_date': dt.date(year, 12, 31),
                    'company': self.company.id,
                    'move_sequence': sequences[year, 'move'].id,
                    'invoice_sequences': [('create', [{
                                    'company': self.company.id,
                                    **{f'{k}_sequence':
                                        sequences[year, k].id
                                        for k in kinds if k != 'move'},
                                    }])],
                    } for year in years])
        FiscalYear.create_period(fiscalyears)
        return len(fiscalyears), prevented

    def find_bank(self):
        "Return the journal and the account of the payments"
        pool = Pool()
        Journal = pool.get('account.journal')
        journals = Journal.search([
                ('type', '=', 'cash'),
                ], order=[('code', 'ASC')], limit=1)
        if not journals:
            raise LoadError('msg_load_journal_missing')
        return journals[0], self.account(self.bank_code)

    def buyback_values(self, route):
        """Return the accounts of a buyback that depend on its route

        The others are those of the configuration.
        """
        pool = Pool()
        Account = pool.get('account.account')
        if route == 'company_purchase':
            accounts = Account.search([
                    ('company', '=', self.company.id),
                    ('code', '=', SHARES_ACCOUNT),
                    ], limit=1)
            if accounts:
                return {'account_debit': accounts[0].id}
        return {}


def slugify(name):
    "Return the name as a login"
    ascii_ = unicodedata.normalize('NFKD', name).encode('ascii', 'ignore')
    return '.'.join(re.findall(r'[a-z0-9]+', ascii_.decode().lower()))
