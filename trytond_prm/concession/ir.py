# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import PoolMeta


class Rule(metaclass=PoolMeta):
    __name__ = 'ir.rule'

    @classmethod
    def _prm_own_models(cls):
        return super()._prm_own_models() | {'prm.concession'}


class EmailTemplate(metaclass=PoolMeta):
    __name__ = 'ir.email.template'

    @classmethod
    def _prm_party(cls, record):
        if record.__name__ == 'prm.concession':
            return record.party
        return super()._prm_party(record)
