# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import PoolMeta
from trytond.transaction import Transaction


class Rule(metaclass=PoolMeta):
    __name__ = 'ir.rule'

    @classmethod
    def _prm_own_models(cls):
        return super()._prm_own_models() | {'prm.concession'}


class EmailTemplate(metaclass=PoolMeta):
    __name__ = 'ir.email.template'

    def get(self, record):
        language = None
        if record.__name__ == 'prm.concession' and record.party.lang:
            language = record.party.lang.code
        if not language or language == Transaction().language:
            return super().get(record)
        with Transaction().set_context(language=language):
            # Read its texts in the language of the customer
            template = self.__class__(self.id)
            return super(EmailTemplate, template).get(record)
