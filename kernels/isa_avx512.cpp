#define HUOZI_ISA avx512
#define HUOZI_WIDTH 16
#define HUOZI_TILE 12
#include "attention.h"
#include "engine.h"
#include "peak.h"
