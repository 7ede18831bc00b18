# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.model import ModelView
from trytond.modules.party.exceptions import EraseError
from trytond.pool import Pool, PoolMeta


class Party(metaclass=PoolMeta):
    __name__ = 'party.party'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'quick_interaction': {
                    'icon': 'tryton-chat',
                    },
                })

    @classmethod
    @ModelView.button_action('prm.act_interaction_quick')
    def quick_interaction(cls, parties):
        pass


class Replace(metaclass=PoolMeta):
    __name__ = 'party.replace'

    @classmethod
    def fields_to_replace(cls):
        return super().fields_to_replace() + [
            ('prm.interaction', 'party'),
            ]

    def transition_replace(self):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        result = super().transition_replace()
        Partner.take_in(self.ask.destination, Interaction)
        return result


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def check_erase_company(self, party, company):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        super().check_erase_company(party, company)
        if Interaction.search([
                    ('party', '=', party.id),
                    ('company', '=', company.id),
                    ('state', '=', 'planned'),
                    ], limit=1):
            raise EraseError(gettext(
                    'prm.msg_erase_party_interaction',
                    party=party.rec_name,
                    company=company.rec_name))

    def to_erase(self, party_id):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        return super().to_erase(party_id) + [
            (Interaction, ['OR',
                    ('party', '=', party_id),
                    ('contact.party', '=', party_id),
                    ], True,
                ['subject', 'body', 'outcome', 'message_identifier'],
                [None, None, None, None]),
            ]
