/* Therapy: status for everybody, changes by the operator. */
#include "audit.h"
#include "commands.h"
#include "drive.h"
#include "session.h"

static const char *status(const struct request *request, struct text *answer)
{
    (void)request;
    text_char(answer, ' ');
    drive_put(answer);
    return NULL;
}

static const char *rate(const struct request *request, struct text *answer)
{
    uint32_t tenths;
    char text_buffer[AUDIT_DETAIL + 1];
    struct text text;
    if (!parse_decimal(request->words[1], 1, &tenths) || tenths < 1 || tenths > kept.values[SETTING_HIGHEST_RATE])
        return "bad-argument";
    drive_set_rate(tenths);
    text_begin(&text, text_buffer, sizeof text_buffer);
    text_decimal(&text, tenths, 1);
    audit(SURFACE_VENDOR, session_user(), "rate", ACCEPTED, text_buffer);
    text_put(answer, " set=");
    text_put(answer, text_buffer);
    return NULL;
}

static const char *start(const struct request *request, struct text *answer)
{
    (void)request, (void)answer;
    drive_run(true);
    audit(SURFACE_VENDOR, session_user(), "start", ACCEPTED, "-");
    return NULL;
}

static const char *stop(const struct request *request, struct text *answer)
{
    (void)request, (void)answer;
    drive_run(false);
    audit(SURFACE_VENDOR, session_user(), "stop", ACCEPTED, "-");
    return NULL;
}

const struct command therapy_commands[] = {
    {"status", FOR_ANYONE, 0, status},
    {"rate", FOR_OPERATOR, 1, rate},
    {"start", FOR_OPERATOR, 0, start},
    {"stop", FOR_OPERATOR, 0, stop},
    {0},
};
