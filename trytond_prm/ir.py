# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import Pool, PoolMeta
from trytond.transaction import Transaction


class Rule(metaclass=PoolMeta):
    __name__ = 'ir.rule'

    @classmethod
    def _prm_own_models(cls):
        "Return the models whose rules depend on the user or his employees"
        return set()

    @classmethod
    def _get_context(cls, model_name):
        pool = Pool()
        User = pool.get('res.user')
        context = super()._get_context(model_name)
        if model_name in cls._prm_own_models():
            context['employees'] = User.get_employees()
            context['user_id'] = Transaction().user
        return context

    @classmethod
    def _get_cache_key(cls, model_names):
        pool = Pool()
        User = pool.get('res.user')
        key = super()._get_cache_key(model_names)
        if model_names & cls._prm_own_models():
            key = (*key, Transaction().user, User.get_employees())
        return key


class EmailTemplate(metaclass=PoolMeta):
    __name__ = 'ir.email.template'

    @classmethod
    def _prm_party(cls, record):
        "Return the party in whose language the record is told or None"

    def get(self, record):
        pool = Pool()
        Model = pool.get(self.model.name)
        party = self._prm_party(Model(int(record)))
        if not party or not party.lang:
            return super().get(record)
        with Transaction().set_context(language=party.lang.code):
            # Read its texts in the language of the party
            template = self.__class__(self.id)
            return super(EmailTemplate, template).get(record)
