# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import PoolMeta


class Cron(metaclass=PoolMeta):
    __name__ = 'ir.cron'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.method.selection.extend([
                ('prm.buyback|post_due_interest',
                    "Post Due Interest of Buybacks"),
                ('prm.buyback|remind_due', "Remind of Due Instalments"),
                ('prm.buyback|alert_overdue',
                    "Alert of Overdue Instalments"),
                ])


class EmailTemplate(metaclass=PoolMeta):
    __name__ = 'ir.email.template'

    @classmethod
    def _get_default_exclude(cls, record):
        exclude = super()._get_default_exclude(record)
        if record.__name__ == 'prm.buyback':
            exclude += ['signed_by', 'run_by', 'buyer']
        return exclude

    @classmethod
    def _prm_party(cls, record):
        if record.__name__ in {
                'prm.buyback', 'prm.buyback.instalment',
                'prm.buyback.notice'}:
            return record.party
        return super()._prm_party(record)
