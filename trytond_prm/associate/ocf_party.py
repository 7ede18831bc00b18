# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The addresses, contacts and identifiers of Open Cap Table Format."
import re
from collections import defaultdict, namedtuple
from functools import cached_property

from stdnum import get_cc_module

from trytond.exceptions import UserError
from trytond.pool import Pool

Contact = namedtuple('Contact', ['type', 'value', 'name', 'path'])
PHONES = {'phone', 'mobile'}
PHONE = re.compile(
    r'\+\d{1,3} \d{2,3} \d{2,3} \d{4}( (ext\.|extension) \d+)?')


def address_type(index):
    "Return the type of the address, that parties have not"
    return 'OTHER' if index else 'LEGAL'


def is_institution(party):
    # Parties have no such type, but only organisations are registered
    return bool(party.identifiers)


def get_addresses(object_):
    if address := object_.get('address'):
        return [address]
    return object_.get('addresses') or []


def get_contacts(object_):
    """Return the contacts of an issuer or stakeholder

    And the names of the fields that contacts have not.
    """
    contacts, lost = [], set()

    def add(path, emails, phones, name=None):
        for email in emails or []:
            contacts.append(Contact(
                    'email', email['email_address'], name, f'{path}emails'))
            if email.get('email_type') != 'OTHER':
                lost.add(f'{path}emails.email_type')
        for phone in phones or []:
            mobile = phone.get('phone_type') == 'MOBILE'
            contacts.append(Contact(
                    'mobile' if mobile else 'phone', phone['phone_number'],
                    name, f'{path}phone_numbers'))
            if not mobile and phone.get('phone_type') != 'OTHER':
                lost.add(f'{path}phone_numbers.phone_type')

    add('',
        [object_['email']] if object_.get('email') else [],
        [object_['phone']] if object_.get('phone') else [])
    for key in ['contact_info', 'primary_contact']:
        if info := object_.get(key):
            name = info.get('name') or {}
            lost.update(
                f'{key}.name.{n}' for n in name.keys() - {'legal_name'})
            add(f'{key}.', info.get('emails'), info.get('phone_numbers'),
                name.get('legal_name'))
    return contacts, lost


def get_country(identifier):
    "Return the code of the country of an identifier of a party"
    prefix, _, _ = (identifier.type or '').partition('_')
    if prefix == 'eu':
        prefix = {'EL': 'GR'}.get(
            identifier.code[:2].upper(), identifier.code[:2])
    if len(prefix) == 2:
        return prefix.upper()
    for address in identifier.party.addresses:
        if address.country:
            return address.country.code


def compact(value):
    return re.sub(r'[\s.\-()/]', '', value or '').lower()


class PartyReader:
    "Read what issuers and stakeholders say about parties"

    def __init__(self, company):
        pool = Pool()
        Country = pool.get('country.country')
        Identifier = pool.get('party.identifier')
        self.company = company
        self.countries = {c.code: c for c in Country.search([])}
        self.types = defaultdict(list)
        for type_, _ in Identifier.get_types():
            if (type_ and '_' in type_
                    and type_ not in Identifier._type_addresses()):
                self.types[type_.split('_', 1)[0]].append(type_)

    @cached_property
    def subdivisions(self):
        Subdivision = Pool().get('country.subdivision')
        return {s.code: s for s in Subdivision.search([])}

    def fill(self, party, object_):
        """Fill a new party from the object

        Return the names of the fields that parties have not.
        """
        pool = Pool()
        Address = pool.get('party.address')
        ContactMechanism = pool.get('party.contact_mechanism')
        lost = set()
        addresses, mechanisms, identifiers = [], [], []
        for index, values in enumerate(get_addresses(object_)):
            address, missing = self.get_address(Address, values)
            addresses.append(address)
            lost |= missing
            if values.get('address_type') != address_type(index):
                lost.add('addresses.address_type')
        contacts, missing = get_contacts(object_)
        lost |= missing
        for contact in contacts:
            mechanism = ContactMechanism(
                type=contact.type, value=contact.value, name=contact.name)
            if self.is_valid(mechanism):
                mechanisms.append(mechanism)
            else:
                lost.add(f'{contact.path} {contact.value}')
        for tax_id in object_.get('tax_ids') or []:
            identifier, missing = self.get_identifier(tax_id, object_)
            identifiers.append(identifier)
            lost |= missing
        if addresses:
            party.addresses = addresses
        if mechanisms:
            party.contact_mechanisms = mechanisms
        if identifiers:
            party.identifiers = identifiers
        institution = object_.get('stakeholder_type') == 'INSTITUTION'
        if institution != bool(identifiers):
            lost.add('stakeholder_type')
        return lost

    def get_address(self, Address, values):
        lost = set()
        code = values['country']
        country = self.countries.get(code)
        if not country:
            lost.add(f'addresses.country {code}')
        subdivision = None
        if sub_code := values.get('country_subdivision'):
            subdivision = self.subdivisions.get(f'{code}-{sub_code}')
            if not subdivision:
                lost.add(f'addresses.country_subdivision {sub_code}')
        return Address(
            street_unstructured=values.get('street_suite'),
            postal_code=values.get('postal_code'), city=values.get('city'),
            country=country, subdivision=subdivision), lost

    def is_valid(self, mechanism):
        Mechanism = mechanism.__class__
        check = Mechanism(
            type=mechanism.type, value=mechanism.value,
            party=self.company.party)
        try:
            Mechanism.check_valid_phonenumber([check])
            Mechanism.check_valid_email([check])
        except UserError:
            return False
        return True

    def get_identifier(self, tax_id, object_):
        Identifier = Pool().get('party.identifier')
        code, country = tax_id['tax_id'], tax_id['country']
        for type_ in self.types[country.lower()]:
            module = get_cc_module(*type_.split('_', 1))
            if module and module.is_valid(code):
                return Identifier(type=type_, code=code), set()
        lost = set()
        if country not in {
                a['country'] for a in get_addresses(object_)[:1]
                if a['country'] in self.countries}:
            lost.add(f'tax_ids.country {country}')
        return Identifier(type=None, code=code), lost

    def compare(self, party, object_):
        "Return the names of the fields that an existing party has not"
        lost = set()
        Address = Pool().get('party.address')
        known = {self.get_key(a) for a in party.addresses}
        for values in get_addresses(object_):
            address, missing = self.get_address(Address, values)
            if missing or self.get_key(address) not in known:
                lost.add('addresses')
        known = {
            (m.type in PHONES, compact(m.value))
            for m in party.contact_mechanisms}
        for contact in get_contacts(object_)[0]:
            if (contact.type in PHONES, compact(contact.value)) not in known:
                lost.add(f'{contact.path} {contact.value}')
        known = {compact(i.code) for i in party.identifiers}
        for tax_id in object_.get('tax_ids') or []:
            if compact(tax_id['tax_id']) not in known:
                lost.add(f"tax_ids {tax_id['tax_id']}")
        return lost

    def get_key(self, address):
        street = (
            address.street if address.id is not None and address.id >= 0
            else address.street_unstructured)
        return (
            ' '.join((street or '').split()), address.postal_code or '',
            address.city or '', address.country, address.subdivision)


class PartyWriter:
    "Write parties as issuer or stakeholders"

    def __init__(self):
        self.lost = []

    def lose(self, party, what):
        self.lost.append(f'{party.rec_name}: {what}')

    def get_stakeholder(self, party):
        "Return the fields of a stakeholder"
        values = {}
        if addresses := self.get_addresses(party):
            values['addresses'] = addresses
        contacts = self.get_contacts(party)
        for name, info in contacts.items():
            if not name:
                values['contact_info'] = info
            elif 'primary_contact' not in values:
                values['primary_contact'] = {
                    'name': {'legal_name': name}, **info}
            else:
                self.lose(party, name)
        if tax_ids := self.get_tax_ids(party):
            values['tax_ids'] = tax_ids
        return values

    def get_issuer(self, party):
        "Return the fields of an issuer"
        values = {}
        address, *others = self.get_addresses(party) or [None]
        if address:
            values['address'] = address
        for other in others:
            self.lose(party, other.get('street_suite') or other.get('city'))
        for info in self.get_contacts(party).values():
            for key, name, value in [
                    ('email', 'emails', 'email_address'),
                    ('phone', 'phone_numbers', 'phone_number')]:
                for contact in info.get(name, []):
                    if key in values:
                        self.lose(party, contact[value])
                    else:
                        values[key] = contact
        if tax_ids := self.get_tax_ids(party):
            values['tax_ids'] = tax_ids
        return values

    def get_addresses(self, party):
        result = []
        for address in party.addresses:
            if not address.full_address.strip():
                continue
            if not address.country:
                self.lose(party, address.rec_name)
                continue
            values = {
                'address_type': address_type(len(result)),
                'street_suite': address.street,
                'city': address.city,
                'postal_code': address.postal_code,
                'country': address.country.code,
                }
            if address.subdivision:
                _, _, code = address.subdivision.code.partition('-')
                values['country_subdivision'] = code
            result.append({k: v for k, v in values.items() if v})
        return result

    def get_contacts(self, party):
        "Return the contacts by name"
        result = defaultdict(lambda: defaultdict(list))
        for mechanism in party.contact_mechanisms:
            info = result[mechanism.name]
            if mechanism.type == 'email':
                info['emails'].append({
                        'email_type': 'OTHER',
                        'email_address': mechanism.value,
                        })
            elif (mechanism.type in PHONES
                    and (number := self.get_phone(mechanism))):
                info['phone_numbers'].append({
                        'phone_type': (
                            'MOBILE' if mechanism.type == 'mobile'
                            else 'OTHER'),
                        'phone_number': number,
                        })
            else:
                self.lose(party, mechanism.rec_name)
        return {n: dict(i) for n, i in result.items() if i}

    def get_phone(self, mechanism):
        "Return the number as the format writes it or None"
        if PHONE.fullmatch(mechanism.value):
            return mechanism.value
        try:
            number = mechanism._parse_phonenumber(mechanism.value)
        except AttributeError:
            # The library that reads the numbers is optional
            return None
        code = getattr(number, 'country_code', None)
        national = str(getattr(number, 'national_number', ''))
        if not code or not 8 <= len(national) <= 10:
            return None
        rest = national[:-4]
        middle = (len(rest) + 1) // 2
        return f'+{code} {rest[:middle]} {rest[middle:]} {national[-4:]}'

    def get_tax_ids(self, party):
        result = []
        for identifier in party.identifiers:
            if country := get_country(identifier):
                result.append({
                        'tax_id': identifier.code, 'country': country})
            else:
                self.lose(party, identifier.rec_name)
        return result
