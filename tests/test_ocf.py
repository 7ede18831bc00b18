# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import hashlib
import json
import unittest
import zipfile
from decimal import Decimal
from io import BytesIO
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from trytond.modules.company.tests import create_company, set_company
from trytond.modules.currency.tests import add_currency_rate, create_currency
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    OCFExportError, OCFImportError)
from trytond.modules.prm.trytond_prm.associate.ocf import (
    Importer, Reader, Writer, count, read, report, subtract)
from trytond.modules.prm.trytond_prm.associate.ocf_party import PartyReader
from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction
from trytond.transaction import Transaction

from .test_share import (
    Register, create_class, create_parties, movements, new, post)


def create_companies(*names):
    currency = create_currency('USD')
    add_currency_rate(currency, 1)
    return [create_company(name, currency=currency) for name in names]


def export(company, date=dt.date(2008, 12, 31)):
    "Return the content of the zip file"
    ShareTransaction = Pool().get('prm.share.transaction')
    transactions = ShareTransaction.search([
            ('company', '=', company.id),
            ('state', '=', 'posted'),
            ], order=[('date', 'ASC'), ('number', 'ASC')])
    return Writer(company, transactions).get_zip(date, date, 'FR')


def import_(company, objects):
    "Import the objects and return the reader"
    reader = Reader(objects)
    with set_company(company):
        Importer(company, reader).run()
    return reader


def state(company, *dates):
    "Return the holdings and the numbers at each date"
    Holding = Pool().get('prm.share.holding')
    result = {}
    for date in dates:
        with Transaction().set_context(date=date):
            result[date] = {
                ('company' if h.party == company.party else h.party.name,
                    h.share_class.name): (
                    h.quantity, h.percentage, h.votes,
                    h.share_class.get_numbers(h.party, date)
                    if h.share_class.numbered else None)
                for h in Holding.search([('company', '=', company.id)])}
    return result


def transactions(company):
    "Return what the register tells, by date"
    ShareTransaction = Pool().get('prm.share.transaction')
    register = ShareTransaction.search([
            ('company', '=', company.id),
            ('state', '=', 'posted'),
            ])

    def name(party):
        if party:
            return 'company' if party == company.party else party.name

    def describe(transaction):
        return (
            transaction.date, transaction.kind,
            transaction.share_class.name, transaction.quantity,
            sorted(transaction.number_ranges),
            [name(h) for h in transaction.holders],
            transaction.unit_price, transaction.description,
            transaction.reference,
            transaction.reversal_of and describe(transaction.reversal_of))

    return sorted(map(describe, register), key=repr)


def problems(reader):
    "Return what is not imported without what the export asks for"
    return [
        p for p in report(reader.problems) if not p.startswith('ISSUER ')]


def stakeholder(id_, **values):
    return {
        'object_type': 'STAKEHOLDER',
        'id': id_,
        'name': {'legal_name': id_.title()},
        'stakeholder_type': 'INDIVIDUAL',
        **values}


def stock_class(id_='ordinary', **values):
    return {
        'object_type': 'STOCK_CLASS',
        'id': id_,
        'name': "Ordinary",
        'class_type': 'COMMON',
        'default_id_prefix': 'O-',
        'initial_shares_authorized': 'UNLIMITED',
        'votes_per_share': '1',
        'par_value': {'amount': '10.0000000000', 'currency': 'USD'},
        'seniority': '1',
        **values}


def issuance(security, holder, quantity, date='2020-01-01', **values):
    return {
        'object_type': 'TX_STOCK_ISSUANCE',
        'id': f'issue-{security}',
        'security_id': security,
        'date': date,
        'stakeholder_id': holder,
        'custom_id': security,
        'stock_class_id': 'ordinary',
        'share_price': {'amount': '12.50', 'currency': 'USD'},
        'quantity': str(quantity),
        'security_law_exemptions': [],
        'stock_legend_ids': [],
        **values}


def event(type_, security, quantity=None, date='2021-01-01', **values):
    object_ = {
        'object_type': f'TX_STOCK_{type_}',
        'id': f'{type_.lower()}-{security}',
        'security_id': security,
        'date': date,
        **values}
    if quantity is not None:
        object_['quantity'] = str(quantity)
    return object_


BASE = [stakeholder('alice'), stakeholder('bruno'), stock_class()]


class OCFTestCase(unittest.TestCase):
    "Test Open Cap Table Format"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @given(st.lists(st.tuples(
                st.integers(min_value=1, max_value=30),
                st.integers(min_value=0, max_value=9))))
    def test_subtract(self, others):
        "Ranges are subtracted like sets"
        others = [(f, f + n) for f, n in others]
        expected = set(range(5, 26)) - {
            n for f, l in others for n in range(f, l + 1)}

        ranges = subtract([(5, 25)], others)

        self.assertEqual(
            {n for f, l in ranges for n in range(f, l + 1)}, expected)
        self.assertEqual(count(ranges), len(expected))

    @with_transaction()
    def test_round_trip(self):
        "What is exported comes back"
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        source, target, again = create_companies("Source", "Target", "Again")
        dates = [
            dt.date(2004, 3, 1), dt.date(2005, 1, 1), dt.date(2006, 1, 1),
            dt.date(2007, 1, 1), dt.date(2008, 1, 1), dt.date(2008, 12, 31)]
        with set_company(source):
            ordinary = create_class(source, numbered=True)
            founder = create_class(
                source, name="Founder", votes=2, preferred=True,
                nominal_value=Decimal('0.5'))
            a, b = create_parties("Alice", "Bruno")
            post(
                new(ordinary, '2004-03-01', 'issue', 100, party_to=a,
                    from_number=1, to_number=100,
                    unit_price=Decimal('10.1234'), description="Deed"),
                new(founder, '2004-03-01', 'issue', 50, party_to=b,
                    reference="F-1", unit_price=Decimal('0')),
                new(founder, '2006-06-01', 'repurchase', 20, b, a))
            sale, = post(
                new(founder, '2004-06-01', 'transfer', 30, b, a,
                    unit_price=Decimal('3')))
            ShareTransaction.create_reversals(
                [sale], dt.date(2004, 7, 1), "Refused")
            post(
                new(ordinary, '2005-01-01', 'transfer', 20, a, b,
                    from_number=41, to_number=60,
                    unit_price=Decimal('12')),
                new(ordinary, '2006-01-01', 'repurchase', 5, b,
                    from_number=50, to_number=54,
                    unit_price=Decimal('20')),
                new(ordinary, '2007-01-01', 'cancellation', 2,
                    from_number=50, to_number=51,
                    unit_price=Decimal('20')),
                new(ordinary, '2007-01-01', 'transfer', 3, None, a,
                    from_number=52, to_number=54))
            issue, = post(
                new(founder, '2005-01-01', 'issue', 7, party_to=a))
            ShareTransaction.create_reversals(
                [issue], dt.date(2008, 1, 1), "Void")
            content = export(source)

        reader = import_(target, read(content))

        self.assertEqual(problems(reader), [])
        self.assertEqual(transactions(target), transactions(source))
        self.assertEqual(state(target, *dates), state(source, *dates))
        imported = ShareTransaction.search([
                ('company', '=', target.id),
                ], order=[('date', 'ASC'), ('number', 'ASC')])
        self.assertEqual(len(imported), 11)
        self.assertEqual({
                (t.kind, t.unit_price, t.description)
                for t in imported if t.share_class.name == "Ordinary"
                and t.kind in {'issue', 'repurchase'}}, {
                ('issue', Decimal('10.1234'), "Deed"),
                ('repurchase', Decimal('20'), None)})
        self.assertEqual(
            [t.description for t in imported if t.kind == 'reversal'],
            ["Refused", "Void"])
        self.assertEqual({
                t.share_class.name: (
                    t.share_class.preferred, t.share_class.numbered,
                    t.share_class.nominal_value) for t in imported}, {
                "Ordinary": (False, True, Decimal('10')),
                "Founder": (True, False, Decimal('0.5'))})
        # The parties are those that exist
        self.assertLessEqual(
            {t.party_to for t in imported}, {a, b, None})

        import_(again, read(export(target)))
        self.assertEqual(transactions(again), transactions(source))
        # The rest of what was sold keeps its own price
        balance, = [
            o for o in read(content)
            if o['id'].endswith('-balance')
            and o['date'] == '2005-01-01']
        self.assertEqual(
            Decimal(balance['share_price']['amount']), Decimal('10.1234'))

    @settings(max_examples=15, deadline=None)
    @given(st.booleans(), movements)
    def test_any_round_trip(self, numbered, movements):
        "Any register comes back"
        self.check_round_trip(numbered, movements)

    @with_transaction()
    def check_round_trip(self, numbered, movements):
        ShareTransaction = Pool().get('prm.share.transaction')
        source, target = create_companies("Source", "Target")
        with set_company(source):
            class_ = create_class(source, numbered=numbered)
            parties = create_parties("A", "B")
            register = Register(numbered)
            posted = []
            for kind, day, from_, to, first, quantity in movements:
                if (kind == 'reversal' or kind == 'issue' and to is None
                        or kind == 'repurchase' and from_ is None):
                    continue
                giver = 'company' if from_ is None else "AB"[from_]
                receiver = 'company' if to is None else "AB"[to]
                if kind == 'issue':
                    giver, from_ = '', None
                if kind == 'cancellation':
                    receiver, to = '', None
                if giver == receiver or not register.accept(
                        day, giver, receiver, first, quantity):
                    continue
                transaction = new(
                    class_, f'2007-01-{day:02}', kind, quantity,
                    parties[from_] if from_ is not None else None,
                    parties[to] if to is not None else None)
                if numbered:
                    register.set_numbers(transaction, first, quantity)
                posted.append(
                    (transaction, day, giver, receiver, first, quantity))
            if not posted:
                return
            post(*(p[0] for p in posted))
            for kind, day, _, _, first, _ in movements:
                originals = [p for p in posted if p[1] <= day]
                if kind == 'reversal' and originals:
                    original = originals[first % len(originals)]
                    transaction, _, giver, receiver, *numbers = original
                    if register.accept(day, receiver, giver, *numbers):
                        posted.remove(original)
                        ShareTransaction.create_reversals(
                            [transaction], dt.date(2007, 1, day))
            content = export(source)

        reader = import_(target, read(content))

        dates = [dt.date(2007, 1, d) for d in range(1, 10)]
        self.assertEqual(problems(reader), [])
        self.assertEqual(transactions(target), transactions(source))
        self.assertEqual(state(target, *dates), state(source, *dates))

    @with_transaction()
    def test_files(self):
        "The export has the files of the format"
        company, = create_companies("Dunder Mifflin")
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("Alice")
            post(new(class_, '2004-03-01', 'issue', 100, party_to=a))
            content = export(company)

        with zipfile.ZipFile(BytesIO(content)) as archive:
            manifest = json.loads(archive.read('Manifest.ocf.json'))
            self.assertEqual(manifest['issuer']['country_of_formation'], 'FR')
            self.assertEqual(manifest['as_of'], '2008-12-31')
            for name in [
                    'stakeholders_files', 'stock_classes_files',
                    'transactions_files']:
                file, = manifest[name]
                data = archive.read(file['filepath'][2:])
                self.assertEqual(
                    hashlib.md5(data).hexdigest(), file['md5'])
            self.assertEqual(manifest['valuations_files'], [])

    @with_transaction()
    def test_import(self):
        "The events of securities become transactions"
        ShareTransaction = Pool().get('prm.share.transaction')
        company, = create_companies("Dunder Mifflin")

        import_(company, BASE + [
                issuance('s1', 'alice', 1000),
                issuance('s2', 'bruno', 300, date='2021-01-01'),
                issuance('s3', 'alice', 700, date='2021-01-01'),
                event('TRANSFER', 's1', 300, resulting_security_ids=['s2'],
                    balance_security_id='s3'),
                event('REPURCHASE', 's3', 200, date='2022-01-01',
                    price={'amount': '30', 'currency': 'USD'},
                    balance_security_id='s4'),
                issuance('s4', 'alice', 500, date='2022-01-01'),
                event('CANCELLATION', 's2', 300, date='2023-01-01',
                    reason_text="Lost", comments=["prm: his"]),
                issuance('s5', 'bruno', 10, date='2023-01-01'),
                event('RETRACTION', 's5', date='2024-01-01',
                    reason_text="Void"),
                ])

        self.assertEqual([
                (t.kind, t.date.year, t.quantity, t.unit_price, t.description,
                    t.party_from.name if t.party_from else None,
                    t.party_to.name if t.party_to else None)
                for t in ShareTransaction.search(
                    [], order=[('date', 'ASC'), ('number', 'ASC')])], [
                ('issue', 2020, 1000, Decimal('12.5'), None, None, "Alice"),
                ('transfer', 2021, 300, Decimal('12.5'), None,
                    "Alice", "Bruno"),
                ('repurchase', 2022, 200, Decimal('30'), None, "Alice", None),
                ('cancellation', 2023, 300, None, "Lost prm: his", "Bruno",
                    None),
                ('issue', 2023, 10, Decimal('12.5'), None, None, "Bruno"),
                ('reversal', 2024, 10, Decimal('12.5'), "Void",
                    "Bruno", None),
                ])

    @with_transaction()
    def test_unknown(self):
        "Unknown objects and what depends on them are told, not imported"
        company, = create_companies("Dunder Mifflin")

        reader = import_(company, BASE + [
                issuance('s1', 'alice', 1000),
                {'object_type': 'TX_WARRANT_ISSUANCE', 'id': 'w1'},
                {'object_type': 'TX_WARRANT_EXERCISE', 'id': 'w2',
                    'resulting_security_ids': ['s2']},
                issuance('s2', 'bruno', 50),
                event('CONVERSION', 's1', resulting_security_ids=['s3']),
                issuance('s3', 'alice', 2000),
                event('CANCELLATION', 's3', 2000),
                ])

        self.assertEqual(report(reader.problems), [
                'TX_WARRANT_ISSUANCE w1: The share register has no such '
                'object.',
                'TX_WARRANT_EXERCISE w2: The share register has no such '
                'object.',
                'TX_STOCK_CONVERSION conversion-s1: The share register has no '
                'such object.',
                'TX_STOCK_CANCELLATION cancellation-s3: It depends on '
                '"TX_STOCK_CONVERSION conversion-s1" that is not imported.',
                'STOCK_CLASS ordinary: The share register has no place for: '
                'default_id_prefix, initial_shares_authorized.',
                ])
        self.assertEqual({
                k: v[0] for k, v in state(
                    company, dt.date(2022, 1, 1))[
                    dt.date(2022, 1, 1)].items()}, {
                ("Alice", "Ordinary"): 1000, ("Bruno", "Ordinary"): 50})

    @with_transaction()
    def test_fields(self):
        "What the register has no place for is told by name"
        ShareTransaction = Pool().get('prm.share.transaction')
        company, = create_companies("Dunder Mifflin")

        reader = import_(company, [
                stakeholder('alice'), stakeholder('bruno'),
                stock_class(seniority='3', liquidation_preference_multiple='2',
                    comments=["Old"]),
                issuance('s1', 'alice', 10, comments=["Deed"],
                    consideration_text="Cash",
                    board_approval_date='2019-12-01',
                    security_law_exemptions=[
                        {'description': "Rule", 'jurisdiction': 'US'}],
                    share_numbers_issued=[{
                            'starting_share_number': '1',
                            'ending_share_number': '10',
                            }]),
                issuance('s2', 'bruno', 5),
                issuance('s3', 'bruno', 4, date='2021-01-01',
                    comments=["Title"]),
                issuance('s4', 'alice', 6, date='2021-01-01',
                    share_price={'amount': '1', 'currency': 'USD'}),
                event('TRANSFER', 's1', 4, resulting_security_ids=['s3'],
                    balance_security_id='s4', consideration_text="Gift"),
                issuance('s5', 'bruno', 5, date='2022-01-01'),
                event('TRANSFER', 's2', 5, date='2022-01-01',
                    resulting_security_ids=['s5']),
                ])

        self.assertEqual(report(reader.problems), [
                'TX_STOCK_TRANSFER transfer-s2: The shares stay with the same '
                'holder.',
                'STOCK_CLASS ordinary: The share register has no place for: '
                'comments, default_id_prefix, initial_shares_authorized, '
                'liquidation_preference_multiple, seniority.',
                'TX_STOCK_ISSUANCE issue-s1: The share register has no place '
                'for: board_approval_date, security_law_exemptions, '
                'share_numbers_issued.',
                'TX_STOCK_ISSUANCE issue-s4: The share register has no place '
                'for: custom_id, share_price.',
                ])
        self.assertEqual({
                (t.kind, t.quantity, t.reference, t.description)
                for t in ShareTransaction.search([])}, {
                ('issue', 10, 's1', "Cash Deed"),
                ('issue', 5, 's2', None),
                ('transfer', 4, 's3', "Gift Title"),
                })

    @with_transaction()
    def test_parties(self):
        "Addresses, contacts and identifiers come with the parties"
        pool = Pool()
        Country = pool.get('country.country')
        Party = pool.get('party.party')
        country = Country(name="France", code='FR')
        country.save()
        company, again = create_companies("Dunder Mifflin", "Again")
        address = {
            'address_type': 'LEGAL',
            'street_suite': "1 rue de la Paix\nBât. A",
            'city': "Paris",
            'postal_code': '75002',
            'country': 'FR',
            }
        objects = [
            {
                'object_type': 'ISSUER',
                'id': 'issuer',
                'legal_name': "Dunder Mifflin",
                'formation_date': '2001-01-01',
                'country_of_formation': 'FR',
                'dba': "DM",
                'email': {
                    'email_type': 'OTHER',
                    'email_address': 'office@example.com',
                    },
                'address': address,
                },
            stakeholder('fund', stakeholder_type='INSTITUTION',
                addresses=[address, {
                        'address_type': 'CONTACT', 'country': 'XX'}],
                primary_contact={
                    'name': {'legal_name': "Ann Lee", 'first_name': "Ann"},
                    'emails': [
                        {
                            'email_type': 'BUSINESS',
                            'email_address': 'ann@example.com',
                            }, {
                            'email_type': 'OTHER',
                            'email_address': 'none',
                            }],
                    'phone_numbers': [{
                            'phone_type': 'MOBILE',
                            'phone_number': '+33 612 34 5678',
                            }],
                    },
                tax_ids=[
                    {'tax_id': '404833048', 'country': 'FR'},
                    {'tax_id': 'A-1', 'country': 'US'}],
                current_status='ACTIVE'),
            stock_class(default_id_prefix='',
                initial_shares_authorized='NOT APPLICABLE'),
            issuance('s1', 'fund', 10)]

        # The libraries that check them are optional
        with patch.object(
                PartyReader, 'is_valid', lambda self, m: m.value != 'none'):
            reader = import_(company, objects)

        self.assertEqual(report(reader.problems), [
                'ISSUER issuer: The party "Dunder Mifflin" exists and is not '
                'changed, it has not: addresses, emails office@example.com. '
                'Add them to it.',
                'ISSUER issuer: The share register has no place for: '
                'country_of_formation, dba, formation_date.',
                'STAKEHOLDER fund: The share register has no place for: '
                'addresses.address_type, addresses.country XX, '
                'current_status, primary_contact.emails none, '
                'primary_contact.emails.email_type, '
                'primary_contact.name.first_name, tax_ids.country US.',
                ])
        party, = Party.search([('name', '=', "Fund")])
        first, second = party.addresses
        self.assertEqual(
            (first.street, first.postal_code, first.city, first.country),
            ("1 rue de la Paix\nBât. A", '75002', "Paris", country))
        self.assertIsNone(second.country)
        self.assertEqual({
                (m.type, m.value.replace(' ', ''), m.name)
                for m in party.contact_mechanisms}, {
                ('email', 'ann@example.com', "Ann Lee"),
                ('mobile', '+33612345678', "Ann Lee"),
                })
        self.assertEqual({
                (i.type, i.code.replace(' ', ''))
                for i in party.identifiers}, {
                ('fr_siren', '404833048'), (None, 'A-1')})

        # What the party has comes out again and is not told when it comes in
        objects = read(export(company))
        fund, = [o for o in objects if o['object_type'] == 'STAKEHOLDER']
        self.assertEqual(fund['addresses'], [address])
        self.assertEqual(fund['primary_contact'], {
                'name': {'legal_name': "Ann Lee"},
                'emails': [{
                        'email_type': 'OTHER',
                        'email_address': 'ann@example.com',
                        }],
                'phone_numbers': [{
                        'phone_type': 'MOBILE',
                        'phone_number': '+33 612 34 5678',
                        }],
                })
        self.assertEqual(problems(import_(again, objects)), [])

    @with_transaction()
    def test_errors(self):
        "Every wrong object is told and nothing is imported"
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        company, = create_companies("Dunder Mifflin")
        no_date = issuance('s2', 'alice', 1)
        del no_date['date']

        with self.assertRaises(OCFImportError) as cm:
            import_(company, BASE + [
                    issuance('s1', 'carla', 1000),
                    no_date,
                    issuance('s3', 'alice', '1.5'),
                    issuance('s4', 'alice', 10),
                    issuance('s4', 'alice', 10, id='again'),
                    event('CANCELLATION', 's4', 4),
                    event('REPURCHASE', 's9', 4,
                        price={'amount': '30', 'currency': 'USD'}),
                    stakeholder('bruno', current_status='ACTIVE'),
                    stock_class('euro', par_value={
                            'amount': '1', 'currency': 'XXX'}),
                    {'object_type': 'TX_WARRANT_ISSUANCE', 'id': 'w1'},
                    ])

        message, description = cm.exception.message, cm.exception.description
        self.assertEqual(
            message, "The share register can not be imported because of "
            "these objects. Nothing was imported.")
        self.assertEqual(sorted(description.splitlines()), sorted([
                    'TX_STOCK_ISSUANCE issue-s1: "carla" is not in the file.',
                    'TX_STOCK_ISSUANCE issue-s2: The field "date" is '
                    'missing.',
                    'TX_STOCK_ISSUANCE issue-s3: A value is not valid: 1.5',
                    'TX_STOCK_ISSUANCE again: The security "s4" is issued '
                    'twice.',
                    'TX_STOCK_CANCELLATION cancellation-s4: The quantity is '
                    '4 instead of 10.',
                    'TX_STOCK_REPURCHASE repurchase-s9: "s9" is not in the '
                    'file.',
                    'STAKEHOLDER bruno: The file has another object of this '
                    'type with this identifier.',
                    'STOCK_CLASS euro: The currency "XXX" does not exist. '
                    'Create it first.',
                    'TX_WARRANT_ISSUANCE w1: The share register has no such '
                    'object.',
                    'STOCK_CLASS ordinary: The share register has no place '
                    'for: default_id_prefix, initial_shares_authorized.',
                    'STOCK_CLASS euro: The share register has no place for: '
                    'default_id_prefix, initial_shares_authorized.',
                    ]))
        self.assertEqual(ShareClass.search([]), [])

    @with_transaction()
    def test_not_empty(self):
        "A register with transactions is not imported over"
        company, = create_companies("Dunder Mifflin")
        import_(company, BASE + [issuance('s1', 'alice', 1000)])

        with self.assertRaisesRegex(OCFImportError,
                r'The share register of "Dunder Mifflin" already has posted '
                r'transactions\. Import the file into an empty register\.'):
            import_(company, BASE + [issuance('s1', 'alice', 1000)])

    @with_transaction()
    def test_not_a_file(self):
        "Something else is refused"
        for content in [b'', b'{}', b'[]', b'{"items": [1]}', b'PK\x03\x04']:
            with self.subTest(content=content):
                with self.assertRaisesRegex(OCFImportError,
                        'can not be read as Open Cap Table Format'):
                    read(content)

    @with_transaction()
    def test_wizards(self):
        "The register goes through the wizards"
        pool = Pool()
        Country = pool.get('country.country')
        Export = pool.get('prm.share.export', type='wizard')
        Import = pool.get('prm.share.import', type='wizard')
        country = Country(name="France", code='FR')
        country.save()
        company, target = create_companies("Dunder Mifflin", "Target")
        with set_company(company):
            session_id, _, _ = Export.create()
            export = Export(session_id)
            export.start.company = company
            export.start.date = dt.date(2008, 12, 31)
            export.start.formation_date = None
            export.start.country = country
            with self.assertRaisesRegex(OCFExportError,
                    r'The share register of "Dunder Mifflin" has no posted '
                    r'transaction to export on this date\.'):
                export.transition_export()
            class_ = create_class(company)
            a, = create_parties("Alice")
            post(new(class_, '2004-03-01', 'issue', 100, party_to=a))

            export.transition_export()
            result = export.default_result(None)

            self.assertEqual(
                result['filename'], 'Dunder Mifflin-2008-12-31.ocf.zip')
            self.assertIsNone(result['ignored'])
        with set_company(target):
            session_id, _, _ = Import.create()
            wizard = Import(session_id)
            wizard.start.company = target
            wizard.start.file = result['file']

            wizard.transition_import_()

            self.assertEqual(wizard.default_result(None), {
                    'transactions': 1,
                    'ignored': (
                        f'ISSUER company-{company.id}: The share register '
                        'has no place for: country_of_formation, '
                        'formation_date, legal_name.'),
                    })
