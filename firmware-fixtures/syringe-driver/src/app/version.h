/* The version of the running image: that of its signed header. */
#ifndef SD_VERSION_H
#define SD_VERSION_H
#include "board.h"
#include "image.h"
#include "text.h"

#define RUNNING ((const struct image_header *)(IMAGE_ADDRESS - sizeof(struct image_header)))

void version_put(struct text *text, const struct image_header *header);
#endif
