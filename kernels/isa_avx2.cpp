#define HUOZI_ISA avx2
#define HUOZI_WIDTH 8
#define HUOZI_TILE 3
#include "attention.h"
#include "engine.h"
#include "peak.h"
