#include "eeprom.h"

#include "board.h"

#define DEVICE 0xA0u /* 0x50, shifted left for the direction bit */

static void start(void)
{
    I2C->control = I2C_SDA;
    I2C->control = I2C_SCL;
    I2C->clear = I2C_SDA;
    I2C->clear = I2C_SCL;
}

static void stop(void)
{
    I2C->clear = I2C_SDA;
    I2C->control = I2C_SCL;
    I2C->control = I2C_SDA;
}

static bool send(uint32_t byte)
{
    for (int bit = 7; bit >= 0; bit--) {
        if (byte >> bit & 1)
            I2C->control = I2C_SDA;
        else
            I2C->clear = I2C_SDA;
        I2C->control = I2C_SCL;
        I2C->clear = I2C_SCL;
    }
    I2C->control = I2C_SDA;
    I2C->control = I2C_SCL;
    bool acknowledged = !(I2C->control & I2C_SDA);
    I2C->clear = I2C_SCL;
    return acknowledged;
}

static uint8_t receive(bool more)
{
    uint32_t byte = 0;
    I2C->control = I2C_SDA;
    for (int bit = 0; bit < 8; bit++) {
        I2C->control = I2C_SCL;
        byte = byte << 1 | (I2C->control & I2C_SDA ? 1u : 0u);
        I2C->clear = I2C_SCL;
    }
    if (more)
        I2C->clear = I2C_SDA;
    I2C->control = I2C_SCL;
    I2C->clear = I2C_SCL;
    return (uint8_t)byte;
}

static bool address_to(uint32_t address)
{
    start();
    return send(DEVICE) && send(address >> 8 & 0xFF) && send(address & 0xFF);
}

bool eeprom_read(uint32_t address, void *into, size_t length)
{
    uint8_t *bytes = into;
    bool right = address_to(address);
    if (right) {
        start();
        right = send(DEVICE | 1);
        while (right && length--)
            *bytes++ = receive(length != 0);
    }
    stop();
    return right;
}

bool eeprom_write(uint32_t address, const void *from, size_t length)
{
    const uint8_t *bytes = from;
    bool right = address_to(address);
    while (right && length--)
        right = send(*bytes++);
    stop();
    return right;
}
