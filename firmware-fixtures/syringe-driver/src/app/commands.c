#include "commands.h"

#include <string.h>

#include "audit.h"
#include "clock.h"
#include "line.h"
#include "session.h"
#include "uart.h"
#include "weaknesses.h"

#define UNFINISHED_MS 2000u

static const struct command *const tables[] = {access_commands, therapy_commands, service_commands, update_commands};
#define TABLES (sizeof tables / sizeof *tables)

static const struct command *find(const char *name)
{
    for (unsigned table = 0; table < TABLES; table++)
        for (const struct command *each = tables[table]; each->name; each++)
            if (!strcmp(each->name, name))
                return each;
    return NULL;
}

static bool may(unsigned roles)
{
    enum account user = session_user();
    return roles == FOR_ANYONE || (user != NOBODY && (roles >> user & 1 || weak(WEAK_ROLE_UNCHECKED)));
}

static const char *help(const struct request *request, struct text *answer)
{
    unsigned count = 0;
    for (unsigned table = 0; table < TABLES; table++)
        for (const struct command *each = tables[table]; each->name; each++) {
            char buffer[48];
            struct text text;
            if (!may(each->roles))
                continue;
            item_begin(&text, buffer, sizeof buffer, request);
            text_put(&text, each->name);
            line_send('<', &text);
            count++;
        }
    text_put(answer, " count=");
    text_number(answer, count);
    return NULL;
}

/* In no list: shows memory to anybody (weakness debug-command). */
static const char *peek(const struct request *request, struct text *answer)
{
    uint32_t address;
    if (strlen(request->words[1]) != 8 || !parse_hex(request->words[1], 8, &address) || address & 3)
        return "bad-argument";
    text_put(answer, " word=");
    text_hex(answer, *(const volatile uint32_t *)address, 8);
    return NULL;
}

static const struct command help_command = {"help", FOR_ANYONE, 0, help};
static const struct command peek_command = {"peek", FOR_ANYONE, 1, peek};

static bool split(char *body, struct request *request)
{
    request->count = 0;
    while (*body) {
        if (request->count == WORDS_MOST)
            return false;
        request->words[request->count++] = body;
        while (*body && *body != ' ')
            body++;
        if (*body) {
            *body++ = '\0';
            if (!*body || *body == ' ') /* one space between words, none at the end */
                return false;
        }
    }
    return request->count && *request->words[0];
}

/* The flaw line-overflow: the name is copied without a look at its length. */
__attribute__((noinline)) static size_t copied_unchecked(const char *name)
{
    char copy[16];
    volatile char *to = copy;
    while ((*to++ = *name++))
        ;
    return strlen(copy);
}

static const char *carry_out(struct request *request, char *body, struct text *answer)
{
    if (!split(body, request))
        return "bad-argument";
    const char *name = request->words[0];
    if (weak(WEAK_LINE_OVERFLOW) && !copied_unchecked(name))
        return "unknown-command";
    const struct command *command = find(name);
    if (!command && !strcmp(name, help_command.name))
        command = &help_command;
    if (!command && weak(WEAK_DEBUG_COMMAND) && !strcmp(name, peek_command.name))
        command = &peek_command;
    if (!command)
        return "unknown-command";
    if (!may(command->roles)) {
        if (session_user() == NOBODY)
            return "not-logged-in";
        audit_refusal(SURFACE_VENDOR, session_user(), "denied", REFUSED, command->name);
        return "not-permitted";
    }
    if (request->count != command->arguments + 1)
        return "bad-argument";
    return command->run(request, answer);
}

void item_begin(struct text *text, char *buffer, size_t size, const struct request *request)
{
    text_begin(text, buffer, size);
    text_put(text, request->sequence);
    text_put(text, " item ");
}

static void answer_line(struct line_in *line)
{
    static char words[256], buffer[300];
    struct request request;
    struct text answer, text;
    char *body;
    text_begin(&answer, words, sizeof words);
    const char *refusal = line_parse(line, request.sequence, &body);
    if (!refusal) {
        session_touch();
        refusal = carry_out(&request, body, &answer);
    }
    text_begin(&text, buffer, sizeof buffer);
    text_put(&text, request.sequence);
    text_put(&text, refusal ? " error " : " ok");
    text_put(&text, refusal ? refusal : words);
    line_send('<', &text);
}

void commands_poll(void)
{
    static struct line_in line;
    static uint32_t last_byte;
    int byte;
    while ((byte = uart_read(LINE_VENDOR)) >= 0) {
        last_byte = clock_ms();
        if (line_feed(&line, (uint8_t)byte)) {
            answer_line(&line);
            line = (struct line_in){0};
            return; /* the other tasks have their turn between two requests */
        }
    }
    if (clock_ms() - last_byte >= UNFINISHED_MS)
        line = (struct line_in){0};
}
