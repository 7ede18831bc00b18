# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import hashlib

from trytond.protocols.wrappers import (
    HTTPStatus, Response, abort, with_pool, with_transaction)
from trytond.wsgi import app


@app.route(
    '/<database_name>/prm/interaction/feed/<key>.ics', methods={'GET'})
@with_pool
@with_transaction()
def interaction_feed(request, pool, key):
    Feed = pool.get('prm.interaction.feed')
    feed = Feed.get_by_key(key)
    if not feed:
        abort(HTTPStatus.NOT_FOUND)
    content = feed.calendar()
    response = Response(content, content_type='text/calendar; charset=utf-8')
    response.set_etag(hashlib.sha256(content).hexdigest())
    response.cache_control.private = True
    response.cache_control.no_cache = True
    return response.make_conditional(request)
