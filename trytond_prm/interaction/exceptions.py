# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError
from trytond.model.exceptions import AccessError, ValidationError


class FeedEmployeeError(ValidationError):
    pass


class InteractionDeleteError(AccessError):
    pass


class InteractionImportError(UserError):
    pass


class PartnerPartyError(ValidationError):
    pass


class SentimentError(ValidationError):
    pass
