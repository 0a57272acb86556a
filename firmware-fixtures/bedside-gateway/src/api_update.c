/* The management API: software updates. */
#define _GNU_SOURCE
#include "api.h"

#define BUNDLE_MAX (8u << 20)

static void taken(struct call *call, const char *why_not)
{
    if (why_not == NULL)
        call->status = 202;
    else
        refuse(call, 422, why_not);
}

void api_update_status(struct call *call) { call->answer = update_status(); }

void api_update_upload(struct call *call)
{
    const char *name = request_value(&call->request, "HTTP_X_BUNDLE_NAME");
    if (call->request.length > BUNDLE_MAX)
        return refuse(call, 413, NULL);
    if (update_busy())
        return refuse(call, 409, NULL);
    taken(call, update_receive(call->request.fd, call->request.length, name));
}

void api_update_fetch(struct call *call)
{
    const char *url;
    if (json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s}", "url", &url) != 0)
        return refuse(call, 400, NULL);
    if (update_busy())
        return refuse(call, 409, NULL);
    if (update_fetch(url) != NULL)
        return refuse(call, 400, NULL);
    call->status = 202;
}
