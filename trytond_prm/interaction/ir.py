# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import PoolMeta


class Rule(metaclass=PoolMeta):
    __name__ = 'ir.rule'

    @classmethod
    def _prm_own_models(cls):
        return super()._prm_own_models() | {
            'prm.interaction', 'prm.interaction.feed',
            'prm.interaction.reminder', 'prm.interaction.transfer'}


class Cron(metaclass=PoolMeta):
    __name__ = 'ir.cron'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.method.selection.extend([
                ('prm.interaction|follow_managers',
                    "Pass Interactions to New Managers"),
                ('prm.interaction.reminder|send',
                    "Send Reminders of Interactions"),
                ])
