#define HUOZI_ISA portable
#define HUOZI_TILE 3
#include "engine.h"
