/* Who it is and who is there: identity, time, log-in, PIN. */
#include "clock.h"
#include "commands.h"
#include "rom.h"
#include "session.h"
#include "version.h"

static const char *identify(const struct request *request, struct text *answer)
{
    (void)request;
    text_put(answer, " model=" IMAGE_MODEL " serial=");
    text_put(answer, ROM->serial);
    text_put(answer, " version=");
    version_put(answer, RUNNING);
    return NULL;
}

static const char *uptime(const struct request *request, struct text *answer)
{
    (void)request;
    text_put(answer, " uptime_ms=");
    text_number(answer, clock_ms());
    return NULL;
}

static const char *session(const struct request *request, struct text *answer)
{
    (void)request;
    text_put(answer, " role=");
    text_put(answer, account_name(session_user()));
    return NULL;
}

static const char *log_in(const struct request *request, struct text *answer)
{
    const char *refusal = session_log_in(request->words[1], request->words[2]);
    return refusal ? refusal : session(request, answer);
}

static const char *log_out(const struct request *request, struct text *answer)
{
    (void)request, (void)answer;
    session_end("-");
    return NULL;
}

static const char *pin(const struct request *request, struct text *answer)
{
    (void)answer;
    return session_change_pin(request->words[1], request->words[2]);
}

const struct command access_commands[] = {
    {"identify", FOR_ANYONE, 0, identify}, {"uptime", FOR_ANYONE, 0, uptime}, {"session", FOR_ANYONE, 0, session},
    {"login", FOR_ANYONE, 2, log_in},      {"logout", FOR_BOTH, 0, log_out},  {"pin", FOR_BOTH, 2, pin},
    {0},
};
