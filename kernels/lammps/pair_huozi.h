// pair_style huozi: the compiled kernel as a pair style of LAMMPS. See docs/lammps.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "huozi.h"
#include "pair.h"

namespace LAMMPS_NS {

class PairHuozi : public Pair {
 public:
  explicit PairHuozi(LAMMPS* lammps);
  ~PairHuozi() override;

  void settings(int count, char** words) override;
  void coeff(int count, char** words) override;
  void init_style() override;
  double init_one(int i, int j) override;
  void compute(int eflag, int vflag) override;
  int pack_reverse_comm(int count, int first, double* buffer) override;
  void unpack_reverse_comm(int count, int* atoms, double* buffer) override;
  double memory_usage() override;

 private:
  struct Free {
    void operator()(huozi_model* model) const { huozi_model_free(model); }
  };
  struct Member {
    std::string path;
    std::unique_ptr<huozi_model, Free> model;
    std::vector<int> kind_of_type;  // from 1; -1 for NULL
    std::vector<double> forces;     // of all atoms and ghosts, when the deviation is due
    double virial[6];
  };

  void read(const std::string& path);
  void order_neighbours();
  void evaluate(Member& member, double* forces, double* virial, bool main);
  void measure_deviation();
  void write_deviation();

  std::vector<Member> members;  // the first moves the atoms
  double cutoff = 0;
  int every = 0;  // steps between measurements of the deviation
  std::string deviation_path;
  FILE* deviation_file = nullptr;
  bigint measured = -1;   // last step in the file
  double deviation[6] = {};  // largest, least, mean: of the virial, of the forces
  std::vector<int> kinds;
  std::vector<unsigned> keys;  // the same for an atom and its ghosts
  std::vector<double> atom_virials;
};

}  // namespace LAMMPS_NS
