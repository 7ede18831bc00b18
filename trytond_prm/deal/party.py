# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from itertools import combinations

from trytond.i18n import gettext
from trytond.modules.party.exceptions import EraseError
from trytond.pool import Pool, PoolMeta

from .exceptions import RegistrationConflictError


class Replace(metaclass=PoolMeta):
    __name__ = 'party.replace'

    @classmethod
    def fields_to_replace(cls):
        return super().fields_to_replace() + [
            ('prm.registration', 'party'),
            ]

    def transition_replace(self):
        pool = Pool()
        Registration = pool.get('prm.registration')
        source, destination = self.ask.source, self.ask.destination
        approved = Registration.search([
                ('party', 'in', [source.id, destination.id]),
                ('state', '=', 'approved'),
                ])
        # The deal keeps only one holder
        for registration, other in combinations(approved, 2):
            if (registration.party != other.party
                    and registration.company == other.company
                    and registration._overlaps(other)):
                raise RegistrationConflictError(gettext(
                        'prm.msg_replace_party_registration',
                        source=source.rec_name,
                        destination=destination.rec_name,
                        registration=registration.rec_name,
                        other=other.rec_name))
        return super().transition_replace()


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def check_erase_company(self, party, company):
        pool = Pool()
        Registration = pool.get('prm.registration')
        super().check_erase_company(party, company)
        if Registration.search([
                    ('party', '=', party.id),
                    ('company', '=', company.id),
                    ('state', 'in', ['submitted', 'approved']),
                    ], limit=1):
            raise EraseError(gettext(
                    'prm.msg_erase_party_registration',
                    party=party.rec_name,
                    company=company.rec_name))

    def to_erase(self, party_id):
        pool = Pool()
        Registration = pool.get('prm.registration')
        return super().to_erase(party_id) + [
            (Registration, ['OR',
                    ('party', '=', party_id),
                    ('partner.party', '=', party_id),
                    ], True,
                ['description', 'override_reason', 'reason'],
                [None, None, None]),
            ]
