# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from urllib.parse import urlsplit, urlunsplit

from trytond.i18n import gettext
from trytond.model import fields
from trytond.modules.party.exceptions import EraseError
from trytond.pool import Pool, PoolMeta

from .exceptions import PartnerOpenError, SocialURLError

_SOCIAL_TYPES = [
    ('social', "Social Network"),
    ('linkedin', "LinkedIn"),
    ('xing', "XING"),
    ('mastodon', "Mastodon"),
    ('bluesky', "Bluesky"),
    ('x', "X"),
    ('facebook', "Facebook"),
    ('instagram', "Instagram"),
    ('youtube', "YouTube"),
    ('github', "GitHub"),
    ]
# The networks that are only at some hosts, Mastodon is everywhere
_SOCIAL_HOSTS = {
    'linkedin': ['linkedin.com'],
    'xing': ['xing.com'],
    'bluesky': ['bsky.app'],
    'x': ['x.com', 'twitter.com'],
    'facebook': ['facebook.com', 'fb.com'],
    'instagram': ['instagram.com'],
    'youtube': ['youtube.com', 'youtu.be'],
    'github': ['github.com'],
    }


class ContactMechanism(metaclass=PoolMeta):
    __name__ = 'party.contact_mechanism'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        for type_ in _SOCIAL_TYPES:
            if type_ not in cls.type.selection:
                cls.type.selection.append(type_)

    @fields.depends('type', 'value')
    def on_change_with_url(self, name=None, value=None):
        url = super().on_change_with_url(name=name, value=value)
        if self.type in dict(_SOCIAL_TYPES):
            url = self.value if value is None else value
        return url

    def format_value(self, value=None, type_=None):
        value = super().format_value(value=value, type_=type_)
        if value and type_ in dict(_SOCIAL_TYPES):
            value = value.strip()
            if '://' not in value:
                value = 'https://' + value
            try:
                scheme, host, *others = urlsplit(value)
                value = urlunsplit([scheme.lower(), host.lower(), *others])
            except ValueError:
                # The validation tells what is wrong
                pass
        return value

    @classmethod
    def validate_fields(cls, mechanisms, field_names):
        super().validate_fields(mechanisms, field_names)
        cls.check_valid_social(mechanisms, field_names)

    @classmethod
    def check_valid_social(cls, mechanisms, field_names=None):
        "Check that social networks have the https address of a profile"
        if field_names and not {'type', 'value'} & field_names:
            return
        for mechanism in mechanisms:
            if (mechanism.type in dict(_SOCIAL_TYPES)
                    and not cls._is_profile_url(
                        mechanism.type,
                        mechanism.format_value(
                            mechanism.value, mechanism.type))):
                raise SocialURLError(gettext(
                        'prm.msg_social_url_invalid',
                        url=mechanism.value,
                        party=mechanism.party.rec_name,
                        network=mechanism.type_string))

    @classmethod
    def _is_profile_url(cls, type_, value):
        try:
            url = urlsplit(value)
            host = url.hostname or ''
            url.port
        except ValueError:
            return False
        if (url.scheme != 'https'
                or '.' not in host.strip('.')
                or any(c.isspace() for c in value)
                or url.username is not None
                or not url.path.strip('/')):
            return False
        if type_ == 'mastodon' and not url.path.startswith('/@'):
            return False
        return (type_ not in _SOCIAL_HOSTS
            or any(host == h or host.endswith('.' + h)
                for h in _SOCIAL_HOSTS[type_]))


class Replace(metaclass=PoolMeta):
    __name__ = 'party.replace'

    @classmethod
    def fields_to_replace(cls):
        return super().fields_to_replace() + [
            ('prm.partner', 'party'),
            ('prm.partner.contact', 'party'),
            ]

    def transition_replace(self):
        pool = Pool()
        Contact = pool.get('prm.partner.contact')
        Partner = pool.get('prm.partner')
        companies = set()
        for partner in Partner.search([
                    ('party', 'in', [
                            self.ask.source.id, self.ask.destination.id]),
                    ('state', '!=', 'ended'),
                    ]):
            if partner.company in companies:
                raise PartnerOpenError(gettext(
                        'prm.msg_replace_party_partner',
                        source=self.ask.source.rec_name,
                        destination=self.ask.destination.rec_name,
                        company=partner.company.rec_name))
            companies.add(partner.company)
        # Who is already a contact does not become it twice
        Contact.delete(Contact.search([
                    ('party', '=', self.ask.source.id),
                    ('partner.contacts.party', '=', self.ask.destination.id),
                    ]))
        return super().transition_replace()


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def check_erase_company(self, party, company):
        pool = Pool()
        Partner = pool.get('prm.partner')
        super().check_erase_company(party, company)
        if Partner.search([
                    ('party', '=', party.id),
                    ('company', '=', company.id),
                    ('state', '!=', 'ended'),
                    ], limit=1):
            raise EraseError(gettext(
                    'prm.msg_erase_party_partner',
                    party=party.rec_name,
                    company=company.rec_name))

    def to_erase(self, party_id):
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        Contact = pool.get('prm.partner.contact')
        Partner = pool.get('prm.partner')
        return super().to_erase(party_id) + [
            (Partner, [('party', '=', party_id)], True,
                ['description'],
                [None]),
            (Contact, [('party', '=', party_id)], True,
                ['role'],
                [None]),
            (Agreement, [('partner.party', '=', party_id)], True,
                ['terms'],
                [None]),
            ]
