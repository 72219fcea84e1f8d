#define HUOZI_ISA portable
#define HUOZI_WIDTH 4
#define HUOZI_TILE 2
#include "attention.h"
#include "engine.h"
#include "peak.h"
