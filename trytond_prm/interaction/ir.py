# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import Pool, PoolMeta
from trytond.transaction import Transaction

_OWN_RULE_MODELS = {
    'prm.interaction',
    'prm.interaction.reminder',
    'prm.interaction.transfer',
    }


class Rule(metaclass=PoolMeta):
    __name__ = 'ir.rule'

    @classmethod
    def _get_context(cls, model_name):
        pool = Pool()
        User = pool.get('res.user')
        context = super()._get_context(model_name)
        if model_name in _OWN_RULE_MODELS:
            context['employees'] = User.get_employees()
            context['user_id'] = Transaction().user
        return context

    @classmethod
    def _get_cache_key(cls, model_names):
        pool = Pool()
        User = pool.get('res.user')
        key = super()._get_cache_key(model_names)
        if model_names & _OWN_RULE_MODELS:
            key = (*key, Transaction().user, User.get_employees())
        return key


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
