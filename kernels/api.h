// What the opaque handle of the C interface holds.
#pragma once

#include <memory>

#include "huozi.h"
#include "model.h"

struct huozi_model {
  std::unique_ptr<huozi::Model> model;
};
