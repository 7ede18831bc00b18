# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Import and export of the share register as Open Cap Table Format files."
import datetime as dt
import hashlib
import json
import posixpath
import zipfile
from collections import Counter, defaultdict, namedtuple
from decimal import Decimal, InvalidOperation
from io import BytesIO
from itertools import groupby

from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool
from trytond.pyson import Eval
from trytond.transaction import Transaction
from trytond.wizard import Button, StateTransition, StateView, Wizard

from .exceptions import OCFExportError, OCFImportError
from .number import count, subtract, union
from .ocf_party import PartyReader, PartyWriter, is_institution

VERSION = '1.2.0'
ISSUER = 'ISSUER'
FILES = {
    'STAKEHOLDER': (
        'OCF_STAKEHOLDERS_FILE', 'stakeholders_files', 'Stakeholders'),
    'STOCK_CLASS': (
        'OCF_STOCK_CLASSES_FILE', 'stock_classes_files', 'StockClasses'),
    'TX': ('OCF_TRANSACTIONS_FILE', 'transactions_files', 'Transactions'),
    }
EMPTY_FILES = [
    'stock_plans_files', 'stock_legend_templates_files',
    'vesting_terms_files', 'valuations_files']

# What happens to shares that already exist
EVENTS = {
    'TX_STOCK_TRANSFER', 'TX_STOCK_REPURCHASE', 'TX_STOCK_CANCELLATION',
    'TX_STOCK_RETRACTION'}
# Their results are no new shares but the module has no such transaction
STOCK_EVENTS = {
    'TX_STOCK_CONVERSION', 'TX_STOCK_REISSUANCE', 'TX_STOCK_CONSOLIDATION'}
MANIFEST = 'OCF_MANIFEST_FILE'
# The fields that are read, by type of object
_OBJECT = {'object_type', 'id'}
_EVENT = _OBJECT | {'security_id', 'date', 'comments'}
_PARTY = _OBJECT | {'tax_ids'}
READ = {
    MANIFEST: _OBJECT | {
        'ocf_version', 'file_type', 'as_of', 'generated_at'},
    'ISSUER': _PARTY | {
        'legal_name', 'formation_date', 'country_of_formation', 'email',
        'phone', 'address'},
    'STAKEHOLDER': _PARTY | {
        'name', 'stakeholder_type', 'issuer_assigned_id', 'primary_contact',
        'contact_info', 'addresses'},
    'STOCK_CLASS': _OBJECT | {
        'name', 'class_type', 'default_id_prefix',
        'initial_shares_authorized', 'votes_per_share', 'par_value',
        'seniority'},
    'TX_STOCK_ISSUANCE': _EVENT | {
        'custom_id', 'stakeholder_id', 'stock_class_id', 'share_price',
        'quantity', 'share_numbers_issued', 'consideration_text'},
    'TX_STOCK_TRANSFER': _EVENT | {
        'quantity', 'consideration_text', 'balance_security_id',
        'resulting_security_ids'},
    'TX_STOCK_REPURCHASE': _EVENT | {
        'price', 'quantity', 'consideration_text', 'balance_security_id'},
    'TX_STOCK_CANCELLATION': _EVENT | {
        'quantity', 'reason_text', 'balance_security_id'},
    'TX_STOCK_RETRACTION': _EVENT | {'reason_text'},
    }
# What the format asks for and the register has not
AUTHORIZED = 'NOT APPLICABLE'
# The comment that keeps what the format can not say
MARK = 'prm:'

Security = namedtuple(
    'Security', [
        'id', 'class_', 'holder', 'quantity', 'ranges', 'price', 'object'])
Movement = namedtuple(
    'Movement', [
        'index', 'object', 'kind', 'date', 'class_', 'quantity', 'ranges',
        'party_from', 'party_to', 'price', 'description', 'reference',
        'reverses', 'mark'])


def whole(value):
    number = Decimal(value)
    if number != number.to_integral_value():
        raise ValueError(value)
    return int(number)


def seniority(class_type):
    "Return the seniority of the class, that the register has not"
    return 2 if class_type == 'PREFERRED' else 1


def read_mark(comment):
    "Return what the comment keeps for the register, a dictionary"
    if not comment.startswith(MARK):
        return {}
    try:
        mark = json.loads(comment[len(MARK):])
    except ValueError:
        # Somebody else wrote it
        return {}
    if (not isinstance(mark, dict) or 'transaction' not in mark
            or any(isinstance(v, (dict, list)) for v in mark.values())):
        return {}
    return mark


def get_mark(object_):
    "Return what the comments keep for the register, a dictionary"
    for comment in object_.get('comments') or []:
        if mark := read_mark(comment):
            return mark
    return {}


def get_text(object_):
    "Return the text of the object without what the comments keep"
    texts = [
        object_.get('reason_text'), object_.get('consideration_text'),
        *(c for c in object_.get('comments') or [] if not read_mark(c))]
    return ' '.join(filter(None, texts)) or None


def read(data):
    """Return the objects of a zip or of a single JSON file

    Raise OCFImportError if it is none of them.
    """
    contents = []
    try:
        if zipfile.is_zipfile(BytesIO(data)):
            with zipfile.ZipFile(BytesIO(data)) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith('.json'):
                        contents.append((name, archive.read(name)))
        else:
            contents.append(('', data))
        objects = []
        for name, content in contents:
            content = json.loads(content.decode('utf-8-sig'))
            if content.get('file_type') == MANIFEST:
                objects.append(content['issuer'])
                objects.append(read_manifest(
                        name, content, [n for n, _ in contents]))
            else:
                objects.extend(content['items'])
            for object_ in objects:
                object_['object_type'], object_['id']
    except (
            AttributeError, KeyError, TypeError, ValueError,
            zipfile.BadZipFile) as error:
        raise OCFImportError(
            gettext('prm.msg_ocf_file', file=name if contents else '',
                error=repr(error))) from error
    return objects


def read_manifest(name, content, names):
    "Return the manifest as an object that tells which files are missing"
    folder = posixpath.dirname(name)
    manifest = {'object_type': MANIFEST, 'id': name, 'missing': []}
    for key, value in content.items():
        if key.endswith('_files'):
            for file in value:
                path = posixpath.normpath(
                    posixpath.join(folder, file['filepath']))
                if path not in names:
                    manifest['missing'].append(file['filepath'])
        elif key != 'issuer':
            manifest[key] = value
    return manifest


class Reader:
    """Read the movements of the register from the objects

    errors has the objects that are wrong, ignored those that have no
    counterpart in the register, both as tuples of object and message.
    """

    def __init__(self, objects):
        self.errors = []
        self.ignored = []
        self.lost = defaultdict(set)
        self.movements = []
        self.issuer = None
        self.stakeholders = {}
        self.classes = {}
        self.securities = {}
        self.parents = {}
        self.balances = set()
        self.issuances = {}
        events, seen = [], {}
        self.indexes = {}
        for index, object_ in enumerate(objects):
            type_ = object_['object_type']
            key = type_, object_['id']
            if key in seen:
                if seen[key] != object_:
                    self.error(object_, 'prm.msg_ocf_duplicate')
                continue
            seen[key] = object_
            self.indexes[key] = index
            if type_ not in READ:
                self.ignored.append((object_, gettext('prm.msg_ocf_unknown')))
            else:
                self.lose(object_, *(
                        n for n, v in object_.items()
                        if n not in READ[type_] | {'missing'}
                        and v not in (None, '', [], {})))
            if type_ == MANIFEST:
                for file in object_['missing']:
                    self.ignored.append((object_, gettext(
                                'prm.msg_ocf_file_missing', file=file)))
            elif type_ == 'ISSUER':
                if self.issuer:
                    self.error(object_, 'prm.msg_ocf_duplicate')
                self.issuer = object_
            elif type_ == 'STAKEHOLDER':
                self.stakeholders[object_['id']] = object_
            elif type_ == 'STOCK_CLASS':
                self.classes[object_['id']] = object_
                self.check(self.read_class, object_)
            elif type_ == 'TX_STOCK_ISSUANCE':
                self.check(self.read_issuance, object_)
            elif type_ in EVENTS:
                events.append(object_)
            if type_ in EVENTS | STOCK_EVENTS:
                self.check(self.read_parent, object_)
        for id_, issuance in self.issuances.items():
            if id_ not in self.parents:
                self.check(self.read_issue, issuance)
        for event in events:
            read = getattr(
                self, 'read_%s' % event['object_type'].split('_')[-1].lower())
            self.check(read, event)
        self.read_numbers()
        self.movements.sort(key=lambda m: (m.date, m.index))
        self.pair_treasury()
        self.merge()

    def lose(self, object_, *names):
        "Tell that the register has no place for fields of the object"
        if names:
            self.lost[object_['object_type'], object_['id']].update(names)

    @property
    def problems(self):
        "All what is not imported, as tuples of object and message"
        return self.ignored + [
            ({'object_type': type_, 'id': id_}, gettext(
                    'prm.msg_ocf_fields', fields=', '.join(sorted(names))))
            for (type_, id_), names in self.lost.items()]

    def check(self, method, object_):
        try:
            method(object_)
        except KeyError as error:
            self.error(object_, 'prm.msg_ocf_missing', field=error.args[0])
        except (
                AttributeError, InvalidOperation, TypeError,
                ValueError) as error:
            self.error(object_, 'prm.msg_ocf_value', value=str(error))

    def error(self, object_, message, **variables):
        self.errors.append((object_, gettext(message, **variables)))

    def is_issuer(self, stakeholder):
        return stakeholder.get('issuer_assigned_id') == ISSUER

    def read_class(self, object_):
        if object_.get('default_id_prefix'):
            self.lose(object_, 'default_id_prefix')
        if object_.get('initial_shares_authorized') != AUTHORIZED:
            self.lose(object_, 'initial_shares_authorized')
        if (Decimal(object_.get('seniority') or 0)
                != seniority(object_.get('class_type'))):
            self.lose(object_, 'seniority')

    def read_parent(self, object_):
        if id_ := object_.get('balance_security_id'):
            self.balances.add(id_)
        for name in ['balance_security_id', 'resulting_security_id']:
            if object_.get(name):
                self.parents[object_[name]] = object_
        for id_ in object_.get('resulting_security_ids', []):
            self.parents[id_] = object_

    def read_issuance(self, object_):
        if object_['security_id'] in self.securities:
            return self.error(
                object_, 'prm.msg_ocf_twice',
                reference=object_['security_id'])
        ranges = [
            (whole(r['starting_share_number']),
                whole(r['ending_share_number']))
            for r in object_.get('share_numbers_issued') or []]
        security = Security(
            object_['security_id'], object_['stock_class_id'],
            object_['stakeholder_id'], whole(object_['quantity']), ranges,
            object_['share_price'], object_)
        if count(ranges) > security.quantity:
            return self.error(
                object_, 'prm.msg_ocf_quantity',
                quantity=count(ranges), expected=security.quantity)
        dt.date.fromisoformat(object_['date'])
        self.securities[security.id] = security
        self.issuances[security.id] = object_

    def get_security(self, object_, id_):
        "Return the security or None after telling why there is none"
        security = self.securities.get(id_)
        if not security:
            if id_ in self.parents:
                parent = self.parents[id_]
                if parent['object_type'] in STOCK_EVENTS:
                    self.ignore(object_, parent)
                    return
            return self.error(
                object_, 'prm.msg_ocf_reference', reference=id_)
        seen = set()
        while parent := self.parents.get(id_):
            if parent['object_type'] in STOCK_EVENTS:
                self.ignore(object_, parent)
                return
            if id_ in seen:
                return self.error(
                    object_, 'prm.msg_ocf_reference', reference=id_)
            seen.add(id_)
            id_ = parent['security_id']
        for objects, reference in [
                (self.classes, security.class_),
                (self.stakeholders, security.holder)]:
            if reference not in objects:
                return self.error(
                    object_, 'prm.msg_ocf_reference', reference=reference)
        return security

    def ignore(self, object_, parent):
        self.ignored.append((object_, gettext(
                    'prm.msg_ocf_depends',
                    object=f"{parent['object_type']} {parent['id']}")))

    def read_numbers(self):
        "Take the numbers away where not all the shares have one"
        securities = defaultdict(list)
        for security in self.securities.values():
            securities[security.class_].append(security)
        numbered = {
            c for c, s in securities.items()
            if all(count(s.ranges) == s.quantity for s in s)}
        for class_, class_securities in securities.items():
            if class_ not in numbered:
                for security in class_securities:
                    if security.ranges:
                        self.lose(security.object, 'share_numbers_issued')
        self.numbered = numbered
        self.movements = [
            m if m.class_ in numbered else m._replace(ranges=[])
            for m in self.movements]
        for movement in self.movements:
            if (movement.class_ in numbered and movement.ranges is not None
                    and count(movement.ranges) != movement.quantity):
                self.error(
                    movement.object, 'prm.msg_ocf_quantity',
                    quantity=count(movement.ranges),
                    expected=movement.quantity)

    def move(self, object_, kind, security, quantity, ranges, **values):
        for name in ['party_from', 'party_to']:
            id_ = values.setdefault(name)
            if id_ and self.is_issuer(self.stakeholders[id_]):
                values[name] = None if kind != 'issue' else id_
        mark = get_mark(object_)
        price = values.pop('price', None)
        if 'unit_price' in mark:
            price = mark['unit_price'] and {'amount': mark['unit_price']}
        result = values.pop('result', object_)
        description = ' '.join(dict.fromkeys(filter(
                    None, [get_text(object_), get_text(result)]))) or None
        if 'description' in mark:
            description = mark['description']
        reference = result.get('custom_id')
        if reference == mark.get('transaction'):
            reference = None
        if mark.get('kind') in {'repurchase', 'transfer'}:
            kind = mark['kind']
        self.movements.append(Movement(
                self.indexes[object_['object_type'], object_['id']],
                object_, kind, dt.date.fromisoformat(object_['date']),
                security.class_, quantity, ranges, price=price,
                description=description, reference=reference,
                reverses=values.pop('reverses', None), mark=mark,
                **values))

    def read_issue(self, object_):
        if security := self.get_security(object_, object_['security_id']):
            self.move(
                object_, 'issue', security, security.quantity,
                security.ranges, party_to=security.holder,
                price=security.price)

    def split(self, object_, security, quantity):
        "Return the numbers taken out of the security, checking the balance"
        rest = security.quantity - quantity
        if not (id_ := object_.get('balance_security_id')):
            if rest:
                self.error(
                    object_, 'prm.msg_ocf_quantity',
                    quantity=quantity, expected=security.quantity)
            return security.ranges
        if not (balance := self.get_security(object_, id_)):
            return
        if balance.quantity != rest:
            self.error(
                object_, 'prm.msg_ocf_quantity',
                quantity=balance.quantity, expected=rest)
        self.lose(balance.object, *(
                name for name in ['custom_id', 'share_price']
                if balance.object.get(name) != security.object.get(name)))
        if get_text(balance.object):
            self.lose(balance.object, 'comments')
        return subtract(security.ranges, balance.ranges)

    def read_transfer(self, object_):
        security = self.get_security(object_, object_['security_id'])
        if not security:
            return
        results = [
            self.get_security(object_, id_)
            for id_ in object_['resulting_security_ids']]
        if not all(results):
            return
        quantity = whole(object_['quantity'])
        if sum(r.quantity for r in results) != quantity:
            return self.error(
                object_, 'prm.msg_ocf_quantity',
                quantity=sum(r.quantity for r in results), expected=quantity)
        self.split(object_, security, quantity)
        for result in results:
            if result.class_ != security.class_:
                self.error(object_, 'prm.msg_ocf_class')
            elif result.holder == security.holder:
                self.ignored.append(
                    (object_, gettext('prm.msg_ocf_same_holder')))
            else:
                self.move(
                    object_, 'transfer', security, result.quantity,
                    result.ranges, party_from=security.holder,
                    party_to=result.holder, price=result.price,
                    result=result.object)

    def read_repurchase(self, object_):
        security = self.get_security(object_, object_['security_id'])
        if not security:
            return
        quantity = whole(object_['quantity'])
        self.move(
            object_, 'repurchase', security, quantity,
            self.split(object_, security, quantity),
            party_from=security.holder, price=object_['price'])

    def read_cancellation(self, object_):
        security = self.get_security(object_, object_['security_id'])
        if not security:
            return
        quantity = whole(object_['quantity'])
        self.move(
            object_, 'cancellation', security, quantity,
            self.split(object_, security, quantity),
            party_from=security.holder)

    def read_retraction(self, object_):
        security = self.get_security(object_, object_['security_id'])
        if not security:
            return
        if security.id in self.parents:
            return self.error(
                object_, 'prm.msg_ocf_retraction',
                reference=security.id)
        self.move(
            object_, 'reversal', security, security.quantity,
            security.ranges, party_from=security.holder,
            reverses=self.issuances[security.id]['id'])

    def pair_treasury(self):
        """Drop the issues to the company of what it repurchased

        The format has no treasury shares: the export writes them as an
        issue to the issuer, that the repurchase already means here.
        """
        repurchased = defaultdict(int)
        for movement in self.movements:
            if movement.kind == 'repurchase':
                repurchased[
                    movement.date, movement.class_, movement.quantity] += 1
        movements = []
        for movement in self.movements:
            key = movement.date, movement.class_, movement.quantity
            if (movement.kind == 'issue' and not movement.mark
                    and self.is_issuer(self.stakeholders[movement.party_to])
                    and repurchased[key]):
                repurchased[key] -= 1
            else:
                movements.append(movement)
        self.movements = movements

    def merge(self):
        "Join the movements that were one transaction before the export"
        movements = {}
        for movement in self.movements:
            key = movement.index
            if number := movement.mark.get('transaction'):
                key = movement._replace(
                    index=None, object=None, quantity=None, ranges=None,
                    price=str(movement.price), mark=number)
                if movement.mark.get('reversal_of'):
                    key = key._replace(kind=None, reverses=None, price=None)
            if first := movements.get(key):
                movement = first._replace(
                    quantity=first.quantity + movement.quantity,
                    ranges=union(first.ranges + movement.ranges))
            movements[key] = movement
        self.movements = list(movements.values())


class Importer:
    "Create the records of what a Reader has read, all or nothing"

    def __init__(self, company, reader):
        self.company = company
        self.reader = reader

    def error(self, object_, message, **variables):
        self.reader.error(object_, message, **variables)

    def run(self):
        "Return the transactions"
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        Party = pool.get('party.party')
        ShareTransaction = pool.get('prm.share.transaction')
        if ShareTransaction.search([
                    ('company', '=', self.company.id),
                    ('state', '=', 'posted'),
                    ], limit=1):
            raise OCFImportError(
                gettext('prm.msg_ocf_not_empty',
                    company=self.company.rec_name))
        parties = self.get_parties()
        classes = self.get_classes()
        self.raise_errors()
        Party.save(list(parties.values()))
        ShareClass.save(list(classes.values()))

        made = {}
        transactions = []
        for movement in self.reader.movements:
            original = self.get_original(movement, made)
            if not original and movement.kind == 'reversal':
                movement = movement._replace(kind='cancellation')
            transaction = self.get_transaction(
                movement, classes[movement.class_], parties)
            transactions.append((movement, transaction, original))
            made['id', movement.object['id']] = movement, transaction
            if number := movement.mark.get('transaction'):
                made['number', number] = movement, transaction
        self.raise_errors()
        # What is taken back must be posted first and what is given again
        # must be back
        posted, pending = [], []
        for movement, transaction, original in transactions:
            if not original:
                pending.append(transaction)
            else:
                ShareTransaction.save(pending)
                ShareTransaction.post(pending)
                posted += pending + ShareTransaction.create_reversals(
                    [original], movement.date, movement.description)
                pending = []
        ShareTransaction.save(pending)
        ShareTransaction.post(pending)
        return posted + pending

    def get_original(self, movement, made):
        "Return the transaction that the movement takes back or None"
        original, transaction = None, None
        if number := movement.mark.get('reversal_of'):
            original, transaction = made.get(('number', number), (None, None))
        elif movement.reverses:
            original, transaction = made.get(
                ('id', movement.reverses), (None, None))
        if (original and original.quantity == movement.quantity
                and union(original.ranges) == union(movement.ranges)):
            return transaction

    def raise_errors(self):
        if self.reader.errors:
            raise OCFImportError(
                gettext('prm.msg_ocf_errors'),
                '\n'.join(
                    report(self.reader.errors + self.reader.problems)))

    def get_parties(self):
        pool = Pool()
        Party = pool.get('party.party')
        self.party_reader = PartyReader(self.company)
        names = {}
        for id_, object_ in self.reader.stakeholders.items():
            try:
                names[id_] = object_['name']['legal_name']
            except (KeyError, TypeError):
                self.error(object_, 'prm.msg_ocf_missing', field='name')
        self.read_issuer()
        times = Counter(names.values())
        known = defaultdict(list)
        for party in Party.search([
                    ('name', 'in', list(set(names.values()))),
                    ]):
            known[party.name].append(party)
        parties = {}
        for id_, name in names.items():
            object_ = self.reader.stakeholders[id_]
            self.reader.lose(object_, *(
                    f'name.{n}' for n in object_['name']
                    if n != 'legal_name'))
            if self.reader.is_issuer(object_):
                parties[id_] = self.company.party
                self.compare(self.company.party, object_)
                continue
            if object_.get('issuer_assigned_id'):
                self.reader.lose(object_, 'issuer_assigned_id')
            if times[name] == len(known[name]) == 1:
                parties[id_], = known[name]
                self.compare(parties[id_], object_)
            else:
                parties[id_] = party = Party(name=name)
                self.reader.check(
                    lambda o: self.reader.lose(
                        o, *self.party_reader.fill(party, o)), object_)
        return parties

    def compare(self, party, object_):
        "Tell what the object says of an existing party that it has not"
        def compare(object_):
            if fields := self.party_reader.compare(party, object_):
                self.reader.ignored.append((object_, gettext(
                            'prm.msg_ocf_party', party=party.rec_name,
                            fields=', '.join(sorted(fields)))))
        self.reader.check(compare, object_)

    def read_issuer(self):
        "Tell what the file says of the company that it has not"
        if not (issuer := self.reader.issuer):
            return
        self.compare(self.company.party, issuer)
        # The export asks for these
        self.reader.lose(issuer, *(
                n for n in ['formation_date', 'country_of_formation']
                if issuer.get(n)))
        if issuer.get('legal_name') != self.company.party.name:
            self.reader.lose(issuer, 'legal_name')

    def get_classes(self):
        pool = Pool()
        Currency = pool.get('currency.currency')
        ShareClass = pool.get('prm.share.class')
        currencies = {c.code: c for c in Currency.search([])}
        known = {c.name: c for c in ShareClass.search([
                    ('company', '=', self.company.id),
                    ])}
        securities = defaultdict(list)
        for security in self.reader.securities.values():
            securities[security.class_].append(security)
        classes = {}
        for id_, object_ in self.reader.classes.items():
            prices = [
                *filter(None, [
                        object_.get('par_value'),
                        object_.get('price_per_share')]),
                *(s.price for s in securities[id_])]
            try:
                codes = {p['currency'] for p in prices}
                values = {
                    'votes': whole(object_['votes_per_share']),
                    'preferred': object_['class_type'] == 'PREFERRED',
                    'numbered': id_ in self.reader.numbered,
                    'nominal_value': None,
                    'currency': self.company.currency,
                    }
                if par_value := object_.get('par_value'):
                    values['nominal_value'] = Decimal(
                        par_value['amount']).normalize() + 0
                class_ = known.get(object_['name']) or ShareClass(
                    company=self.company, name=object_['name'])
            except KeyError as error:
                self.error(
                    object_, 'prm.msg_ocf_missing', field=error.args[0])
                continue
            except (InvalidOperation, TypeError, ValueError) as error:
                self.error(object_, 'prm.msg_ocf_value', value=str(error))
                continue
            for code in sorted(codes - currencies.keys()):
                self.error(object_, 'prm.msg_ocf_currency', currency=code)
            if len(codes) > 1:
                self.error(
                    object_, 'prm.msg_ocf_currencies',
                    currencies=', '.join(sorted(codes)))
            for code in codes & currencies.keys():
                values['currency'] = currencies[code]
            for name, value in values.items():
                setattr(class_, name, value)
            classes[id_] = class_
        return classes

    def get_transaction(self, movement, class_, parties):
        pool = Pool()
        Range = pool.get('prm.share.transaction.range')
        ShareTransaction = pool.get('prm.share.transaction')
        price = None
        if movement.price:
            try:
                price = Decimal(movement.price['amount']).normalize() + 0
            except (InvalidOperation, KeyError, TypeError) as error:
                self.error(
                    movement.object, 'prm.msg_ocf_value', value=str(error))
        transaction = ShareTransaction(
            company=self.company,
            share_class=class_,
            kind=movement.kind,
            date=movement.date,
            quantity=movement.quantity,
            party_from=parties.get(movement.party_from),
            party_to=parties.get(movement.party_to),
            unit_price=price,
            reference=movement.reference,
            description=movement.description)
        if movement.ranges:
            (first, last), *others = movement.ranges
            transaction.from_number, transaction.to_number = first, last
            transaction.ranges = [
                Range(from_number=first, to_number=last)
                for first, last in others]
        return transaction


def report(problems):
    "Return one line for each tuple of object and message"
    return [
        f"{object_['object_type']} {object_['id']}: {message}"
        for object_, message in problems]


class _Lot:
    "Shares of a holder that the export writes as one security"

    def __init__(
            self, security_id, quantity, ranges, origin, price, custom_id):
        self.security_id = security_id
        self.quantity = quantity
        self.ranges = ranges
        self.origin = origin
        self.price = price
        self.custom_id = custom_id

    def take(self, quantity, ranges):
        "Return the quantity and the numbers that the lot can give"
        if not self.ranges:
            return min(quantity, self.quantity), []
        taken = subtract(
            self.ranges, subtract(self.ranges, ranges))
        return count(taken), taken


class Writer:
    """Write the posted transactions as the objects of the format

    The shares of a holder are securities that transactions split; the oldest
    are taken first, or those that have the numbers.
    """

    def __init__(self, company, transactions):
        self.company = company
        self.lots = defaultdict(list)
        self.objects = []
        self.parties = {}
        self.classes = {}
        self.party_writer = PartyWriter()
        for _, day in groupby(transactions, key=lambda t: t.date):
            self.write_day(list(day))

    def write_day(self, transactions):
        """Write the transactions of a day

        They count together at the end of the day, so one may give what
        another one, posted later, receives.
        """
        while transactions:
            later = []
            for transaction in transactions:
                if self.is_held(transaction):
                    self.write(transaction)
                else:
                    later.append(transaction)
            if len(later) == len(transactions):
                raise OCFExportError(
                    gettext('prm.msg_ocf_circular',
                        transaction=later[0].rec_name))
            transactions = later

    def is_held(self, transaction):
        giver, _ = transaction.holders
        if not giver:
            return True
        ranges = transaction.number_ranges
        return transaction.quantity <= sum(
            lot.take(transaction.quantity, ranges)[0]
            for lot in self.lots[transaction.share_class.id, giver.id])

    def write(self, transaction):
        giver, receiver = transaction.holders
        ranges = transaction.number_ranges
        self.classes[transaction.share_class.id] = transaction.share_class
        id_ = f'transaction-{transaction.id}'
        if not giver:
            self.issue(
                transaction, id_, receiver, transaction.quantity, ranges)
            return
        pieces = self.take(transaction, giver, ranges)
        for i, (lot, quantity, taken, balance) in enumerate(pieces, 1):
            piece_id = f'{id_}-{i}'
            values = {
                'id': piece_id,
                'security_id': lot.security_id,
                'date': transaction.date.isoformat(),
                'quantity': str(quantity),
                'comments': [],
                }
            if balance:
                values['balance_security_id'] = f'{piece_id}-balance'
            text = transaction.description
            mark = {}
            if transaction.kind == 'repurchase':
                mark['kind'] = transaction.kind
            result_id = None
            if not receiver:
                mark['unit_price'] = True
                if not text:
                    mark['description'] = None
                reason = text or transaction.kind_string
                if (transaction.reversal_of and not balance
                        and lot.origin == transaction.reversal_of):
                    del values['quantity']
                    self.add('TX_STOCK_RETRACTION', values,
                        reason_text=reason)
                else:
                    self.add('TX_STOCK_CANCELLATION', values,
                        reason_text=reason)
            elif (transaction.kind == 'repurchase'
                    and receiver == self.company.party):
                self.comment(values, text)
                self.add('TX_STOCK_REPURCHASE', values,
                    price=self.price(transaction))
                result_id = f'{piece_id}-treasury'
            else:
                result_id = f'{piece_id}-result'
                self.comment(values, text)
                self.add('TX_STOCK_TRANSFER', values,
                    resulting_security_ids=[f'security-{result_id}'])
            self.mark(values, transaction, **mark)
            if balance:
                self.issue(
                    transaction, f'{piece_id}-balance', giver, balance,
                    subtract(lot.ranges, taken), lot=lot,
                    security_id=f'{piece_id}-balance')
            if result_id:
                self.issue(
                    transaction, result_id, receiver, quantity, taken,
                    derived=True)

    def take(self, transaction, giver, ranges):
        "Take the shares out of the lots of the giver"
        key = transaction.share_class.id, giver.id
        pieces, rest = [], transaction.quantity
        lots = list(self.lots[key])
        if transaction.reversal_of:
            lots.sort(key=lambda l: l.origin != transaction.reversal_of)
        for lot in lots:
            quantity, taken = lot.take(rest, ranges)
            if not quantity:
                continue
            self.lots[key].remove(lot)
            pieces.append((lot, quantity, taken, lot.quantity - quantity))
            rest -= quantity
            if not rest:
                break
        assert not rest, transaction
        return pieces

    def issue(
            self, transaction, id_, holder, quantity, ranges, derived=False,
            security_id=None, lot=None):
        "Write a security, the balance of the lot if there is one"
        self.parties[holder.id] = holder
        security_id = security_id or f'security-{id_}'
        origin = None if derived or lot else transaction
        # The rest of a lot keeps its price
        price = lot.price if lot else self.price(transaction)
        custom_id = lot.custom_id if lot else (
            transaction.reference or transaction.number)
        values = {
            'id': id_,
            'security_id': security_id,
            'date': transaction.date.isoformat(),
            'stakeholder_id': f'party-{holder.id}',
            'custom_id': custom_id,
            'stock_class_id': f'class-{transaction.share_class.id}',
            'share_price': price,
            'quantity': str(quantity),
            'security_law_exemptions': [],
            'stock_legend_ids': [],
            'comments': [],
            }
        if ranges:
            values['share_numbers_issued'] = [{
                    'starting_share_number': str(first),
                    'ending_share_number': str(last),
                    } for first, last in ranges]
        self.add('TX_STOCK_ISSUANCE', values)
        if origin:
            self.comment(values, transaction.description)
            self.mark(values, transaction)
        self.lots[transaction.share_class.id, holder.id].append(_Lot(
                security_id, quantity, ranges, origin, price, custom_id))

    def price(self, transaction):
        return {
            'amount': str(transaction.unit_price or Decimal('0')),
            'currency': transaction.currency.code,
            }

    def comment(self, values, text):
        if text:
            values['comments'].append(text)

    def mark(self, values, transaction, unit_price=False, **others):
        """Keep what the format can not say of the transaction

        The price if it is not known or if unit_price because the object has
        none, and whatever splits the transaction or changes its kind.
        """
        mark = {'transaction': transaction.number, **others}
        price = transaction.unit_price
        if price is None or unit_price:
            mark['unit_price'] = str(price) if price is not None else None
        if transaction.reversal_of:
            mark['reversal_of'] = transaction.reversal_of.number
        self.comment(values, f'{MARK} {json.dumps(mark)}')

    def add(self, type_, values, **others):
        values.update(others, object_type=type_)
        self.objects.append(values)

    def get_stakeholders(self):
        for party in self.parties.values():
            stakeholder = {
                'object_type': 'STAKEHOLDER',
                'id': f'party-{party.id}',
                'name': {'legal_name': party.name or party.rec_name},
                'stakeholder_type': (
                    'INSTITUTION' if is_institution(party)
                    or party == self.company.party else 'INDIVIDUAL'),
                }
            if party == self.company.party:
                stakeholder['issuer_assigned_id'] = ISSUER
            else:
                stakeholder.update(self.party_writer.get_stakeholder(party))
            yield stakeholder

    def get_classes(self):
        for class_ in self.classes.values():
            values = {
                'object_type': 'STOCK_CLASS',
                'id': f'class-{class_.id}',
                'name': class_.name,
                'class_type': 'PREFERRED' if class_.preferred else 'COMMON',
                'default_id_prefix': '',
                'initial_shares_authorized': AUTHORIZED,
                'votes_per_share': str(class_.votes),
                }
            values['seniority'] = str(seniority(values['class_type']))
            if class_.nominal_value is not None:
                values['par_value'] = {
                    'amount': str(class_.nominal_value),
                    'currency': class_.currency.code,
                    }
            yield values

    def get_zip(self, date, formation_date, country):
        "Return the content of the zip file at the date"
        manifest = {
            'ocf_version': VERSION,
            'file_type': 'OCF_MANIFEST_FILE',
            'as_of': date.isoformat(),
            'generated_at': dt.datetime.now(dt.timezone.utc).isoformat(
                timespec='seconds'),
            'issuer': {
                'object_type': 'ISSUER',
                'id': f'company-{self.company.id}',
                'legal_name': self.company.party.name,
                'formation_date': formation_date.isoformat(),
                'country_of_formation': country,
                **self.party_writer.get_issuer(self.company.party),
                },
            }
        manifest.update({name: [] for name in EMPTY_FILES})
        content = BytesIO()
        with zipfile.ZipFile(
                content, 'w', compression=zipfile.ZIP_DEFLATED) as archive:
            for type_, items in [
                    ('STAKEHOLDER', self.get_stakeholders()),
                    ('STOCK_CLASS', self.get_classes()),
                    ('TX', self.objects)]:
                file_type, key, name = FILES[type_]
                data = json.dumps({
                        'file_type': file_type,
                        'items': list(items),
                        }, indent=2, ensure_ascii=False).encode()
                path = f'{name}.ocf.json'
                archive.writestr(path, data)
                manifest[key] = [{
                        'filepath': f'./{path}',
                        'md5': hashlib.md5(
                            data, usedforsecurity=False).hexdigest(),
                        }]
            archive.writestr('Manifest.ocf.json', json.dumps(
                    manifest, indent=2, ensure_ascii=False))
        return content.getvalue()


class ShareImport(Wizard):
    __name__ = 'prm.share.import'
    __string__ = "Import Share Register"

    start = StateView(
        'prm.share.import.start', 'prm.share_import_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Import", 'import_', 'tryton-ok', default=True),
            ])
    import_ = StateTransition()
    result = StateView(
        'prm.share.import.result', 'prm.share_import_result_view_form', [
            Button("Close", 'end', 'tryton-close', default=True),
            ])

    def transition_import_(self):
        reader = Reader(read(bytes(self.start.file)))
        transactions = Importer(self.start.company, reader).run()
        self.result.transactions = len(transactions)
        self.result.ignored = '\n'.join(report(reader.problems)) or None
        return 'result'

    def default_result(self, fields):
        return {
            'transactions': self.result.transactions,
            'ignored': self.result.ignored,
            }


class ShareImportStart(ModelView):
    __name__ = 'prm.share.import.start'
    __string__ = "Import Share Register"

    company = fields.Many2One('company.company', "Company", required=True)
    file = fields.Binary(
        "File", required=True,
        help="The zip file, or a single JSON file, of the "
        "Open Cap Table Format.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')


class ShareImportResult(ModelView):
    __name__ = 'prm.share.import.result'
    __string__ = "Import Share Register"

    transactions = fields.Integer("Posted Transactions", readonly=True)
    ignored = fields.Text(
        "Not Imported", readonly=True,
        help="The objects of the file, and their fields, that the share "
        "register has not.")


class ShareExport(Wizard):
    __name__ = 'prm.share.export'
    __string__ = "Export Share Register"

    start = StateView(
        'prm.share.export.start', 'prm.share_export_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Export", 'export', 'tryton-ok', default=True),
            ])
    export = StateTransition()
    result = StateView(
        'prm.share.export.result', 'prm.share_export_result_view_form', [
            Button("Close", 'end', 'tryton-close', default=True),
            ])

    def transition_export(self):
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        company = self.start.company
        transactions = ShareTransaction.search([
                ('company', '=', company.id),
                ('state', '=', 'posted'),
                ('date', '<=', self.start.date),
                ], order=[('date', 'ASC'), ('number', 'ASC')])
        if not transactions:
            raise OCFExportError(
                gettext('prm.msg_ocf_empty', company=company.rec_name))
        writer = Writer(company, transactions)
        self.result.file = writer.get_zip(
            self.start.date,
            self.start.formation_date or transactions[0].date,
            self.start.country.code)
        self.result.filename = (
            f'{company.party.name}-{self.start.date.isoformat()}.ocf.zip')
        self.result.ignored = '\n'.join(writer.party_writer.lost) or None
        return 'result'

    def default_result(self, fields):
        file = self.result.file
        self.result.file = None
        return {
            'file': file,
            'filename': self.result.filename,
            'ignored': self.result.ignored,
            }


class ShareExportStart(ModelView):
    __name__ = 'prm.share.export.start'
    __string__ = "Export Share Register"

    company = fields.Many2One('company.company', "Company", required=True)
    date = fields.Date(
        "Date", required=True, help="The date of the last transactions.")
    formation_date = fields.Date(
        "Formation Date",
        help="The date when the company was formed.\n"
        "Leave empty to use the date of the first transaction.")
    country = fields.Many2One(
        'country.country', "Country", required=True,
        help="The country where the company was formed.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_date(cls):
        return Pool().get('ir.date').today()

    @fields.depends('company')
    def on_change_company(self):
        if self.company:
            for address in self.company.party.addresses:
                if address.country:
                    self.country = address.country
                    break


class ShareExportResult(ModelView):
    __name__ = 'prm.share.export.result'
    __string__ = "Export Share Register"

    file = fields.Binary("File", readonly=True, filename='filename')
    filename = fields.Char("File Name", readonly=True)
    ignored = fields.Text(
        "Not Exported", readonly=True,
        states={
            'invisible': ~Eval('ignored'),
            },
        help="The addresses, contacts and identifiers that the format has "
        "not.")
