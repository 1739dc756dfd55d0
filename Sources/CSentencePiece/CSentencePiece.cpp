#include <sentencepiece_processor.h>
