#include "pair_huozi.h"

#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

using namespace LAMMPS_NS;

// LAMMPS's order of a symmetric tensor, xx yy zz xy xz yz, in the kernel's, xx yy zz yz xz xy.
static constexpr int kOrder[6] = {0, 1, 2, 5, 4, 3};

PairHuozi::PairHuozi(LAMMPS* lammps) : Pair(lammps) {
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_NOTAVAIL;
}

PairHuozi::~PairHuozi() {
  if (deviation_file) fclose(deviation_file);
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
  delete[] pvector;
}

// ---------------------------------------------------------------- commands of the input script

// pair_style huozi MODEL [MODEL ...] [out_freq N] [out_file FILE]
void PairHuozi::settings(int count, char** words) {
  if (std::strcmp(update->unit_style, "metal") != 0)
    error->all(FLERR, "pair_style huozi works in eV and Angstrom: put 'units metal' at the top of "
               "the input, found 'units {}'", update->unit_style);
  members.clear();
  // The same style given again keeps this object: its types have no elements until pair_coeff.
  if (allocated)
    for (int i = 1; i <= atom->ntypes; i++)
      for (int j = 1; j <= atom->ntypes; j++) setflag[i][j] = 0;
  if (deviation_file) fclose(deviation_file);
  deviation_file = nullptr;
  measured = -1;
  every = 100;
  deviation_path = "model_devi.out";
  int i = 0;
  for (; i < count && std::strcmp(words[i], "out_freq") && std::strcmp(words[i], "out_file"); i++)
    read(words[i]);
  if (members.empty()) error->all(FLERR, "pair_style huozi needs the name of a model file");
  for (; i < count; i += 2) {
    if (i + 1 == count) error->all(FLERR, "pair_style huozi: {} needs a value", words[i]);
    if (!std::strcmp(words[i], "out_freq")) {
      char* end;
      every = static_cast<int>(std::strtol(words[i + 1], &end, 10));
      if (*end || every < 1)
        error->all(FLERR, "pair_style huozi: out_freq is a number of steps, found '{}'",
                   words[i + 1]);
    } else if (!std::strcmp(words[i], "out_file")) {
      deviation_path = words[i + 1];
    } else {
      error->all(FLERR, "pair_style huozi: expected out_freq or out_file, found '{}'; models come "
                 "first", words[i]);
    }
  }
  cutoff = 0;
  for (const Member& member : members)
    cutoff = std::max(cutoff, huozi_model_cutoff(member.model.get()));
  comm_reverse = 3 * static_cast<int>(members.size());
  if (members.size() > 1 && !pvector) {
    nextra = 6;
    pvector = new double[nextra]();
  }
}

// One process reads the file, all get it. Every model of an ensemble becomes a member.
void PairHuozi::read(const std::string& path) {
  std::string content;
  bigint size = -1;
  if (comm->me == 0) {
    std::ifstream stream(path, std::ios::binary);
    if (stream) {
      content.assign(std::istreambuf_iterator<char>(stream), {});
      size = static_cast<bigint>(content.size());
    }
  }
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  if (size < 0) error->all(FLERR, "pair_style huozi: no model file {}", path);
  if (size > MAXSMALLINT) error->all(FLERR, "pair_style huozi: {} is too large for a model", path);
  content.resize(size);
  MPI_Bcast(content.data(), static_cast<int>(size), MPI_CHAR, 0, world);
  char message[1000] = "";
  for (int i = 0, models = 1; i < models; i++) {
    Member member;
    member.path = path;
    member.model.reset(
        huozi_member_parse(content.data(), content.size(), i, message, sizeof message));
    if (!member.model) error->all(FLERR, "pair_style huozi: {}: {}", path, message);
    models = huozi_model_members(member.model.get());
    members.push_back(std::move(member));
  }
}

// pair_coeff * * ELEMENT ..., one for each type; NULL for types that other styles look after
void PairHuozi::coeff(int count, char** words) {
  const int types = atom->ntypes;
  if (count != 2 + types || std::strcmp(words[0], "*") || std::strcmp(words[1], "*"))
    error->all(FLERR, "pair_style huozi: expected 'pair_coeff * *' and an element for each of the "
               "{} atom types, or NULL", types);
  if (!allocated) {
    memory->create(setflag, types + 1, types + 1, "pair:setflag");
    memory->create(cutsq, types + 1, types + 1, "pair:cutsq");
    allocated = 1;
  }
  for (Member& member : members) {
    std::vector<int> numbers(huozi_model_elements(member.model.get(), nullptr));
    huozi_model_elements(member.model.get(), numbers.data());
    member.kind_of_type.assign(types + 1, -1);
    for (int t = 1; t <= types; t++) {
      const char* word = words[t + 1];
      if (!std::strcmp(word, "NULL")) continue;
      const int number = huozi_atomic_number(word);
      const auto at = std::find(numbers.begin(), numbers.end(), number);
      if (!number) error->all(FLERR, "pair_style huozi: '{}' is no element", word);
      if (at == numbers.end())
        error->all(FLERR, "pair_style huozi: {} was not trained on {}", member.path, word);
      member.kind_of_type[t] = static_cast<int>(at - numbers.begin());
    }
  }
  const std::vector<int>& kind = members[0].kind_of_type;
  for (int i = 1; i <= types; i++)
    for (int j = 1; j <= types; j++) setflag[i][j] = j >= i && kind[i] >= 0 && kind[j] >= 0;
}

void PairHuozi::init_style() {
  if (!force->newton_pair)
    error->all(FLERR, "pair_style huozi needs 'newton on' (forces act on atoms of other processes)");
  for (int k = 1; k <= 3; k++)
    if (atom->nbonds > 0 && force->special_lj[k] == 0 && force->special_coul[k] == 0)
      error->all(FLERR, "pair_style huozi must see bonded neighbours: put 'special_bonds lj/coul 1 "
                 "1 1' into the input");
  neighbor->add_request(this, NeighConst::REQ_FULL);
  if (members.size() > 1 && !deviation_file && comm->me == 0) {
    // A run that goes on, from a restart file for one, adds to what is there.
    deviation_file = fopen(deviation_path.c_str(), update->ntimestep > 0 ? "a" : "w");
    if (!deviation_file)
      error->one(FLERR, "pair_style huozi: cannot write out_file {}", deviation_path);
    fseek(deviation_file, 0, SEEK_END);
    if (ftell(deviation_file) > 0) return;
    fprintf(deviation_file, "#%11s", "step");
    for (const char* name : {"max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f",
                             "avg_devi_f"})
      fprintf(deviation_file, " %18s", name);
    fputc('\n', deviation_file);
  }
}

double PairHuozi::init_one(int i, int j) {
  if (!setflag[std::min(i, j)][std::max(i, j)])
    error->all(FLERR, "pair_style huozi: types {} and {} have no element; give NULL only under "
               "pair_style hybrid", i, j);
  return cutoff;
}

// ---------------------------------------------------------------- every step

void PairHuozi::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (neighbor->ago == 0 && atom->tag_enable) order_neighbours();
  const std::size_t total = atom->nlocal + atom->nghost;
  const bool due = members.size() > 1 && update->ntimestep % every == 0;
  double own[6] = {};
  if (vflag_atom) atom_virials.assign(6 * total, 0.0);
  double* const forces = total ? atom->f[0] : nullptr;
  if (!due) {
    evaluate(members[0], forces, vflag_global ? own : nullptr, true);
  } else {
    for (Member& member : members) {
      member.forces.assign(3 * total, 0.0);
      std::fill_n(member.virial, 6, 0.0);
      evaluate(member, member.forces.data(), member.virial, &member == &members[0]);
    }
    std::copy_n(members[0].virial, 6, own);
    for (std::size_t i = 0; i < 3 * total; i++) forces[i] += members[0].forces[i];
  }
  if (vflag_global)
    for (int k = 0; k < 6; k++) virial[k] += own[kOrder[k]];
  if (vflag_atom)
    for (std::size_t i = 0; i < total; i++)
      for (int k = 0; k < 6; k++) vatom[i][k] += atom_virials[6 * i + kOrder[k]];
  if (due) measure_deviation();
}

// LAMMPS's own order is that of its bins, which differ between processes. Rows are changed in place:
// nothing that shares the list depends on their order. Fibonacci hashing (Knuth, The Art of Computer
// Programming 3, section 6.4) spreads the tags.
void PairHuozi::order_neighbours() {
  const int total = atom->nlocal + atom->nghost;
  if (!total) return;
  keys.resize(total);
  for (int i = 0; i < total; i++) keys[i] = static_cast<unsigned>(atom->tag[i]) * 2654435769u;
  huozi_order_neighbours(list->inum, list->ilist, list->numneigh, list->firstneigh, keys.data(),
                         atom->x[0], comm->nthreads);
}

// One model; the main one also gives the energies, and virials of atoms, that LAMMPS asked for.
void PairHuozi::evaluate(Member& member, double* forces, double* virial, bool main) {
  const int local = atom->nlocal, total = local + atom->nghost;
  if (!local) return;
  kinds.resize(total);
  for (int i = 0; i < total; i++) kinds[i] = member.kind_of_type[atom->type[i]];
  const huozi_atoms atoms{local, total, atom->x[0], kinds.data(), list->numneigh, list->firstneigh};
  double energy = 0;
  const huozi_output output{&energy, main && eflag_atom ? eatom : nullptr, forces, virial,
                            main && vflag_atom ? atom_virials.data() : nullptr};
  char message[1000] = "";
  if (huozi_compute(member.model.get(), &atoms, &output, comm->nthreads, message, sizeof message))
    error->one(FLERR, "pair_style huozi: {}", message);
  if (main && eflag_global) eng_vdwl += energy;
}

// ---------------------------------------------------------------- deviation of several models

// Standard deviation over the models of each atom's force, and of the virial per atom.
void PairHuozi::measure_deviation() {
  comm->reverse_comm(this);
  const double models = static_cast<double>(members.size());
  double most = 0, least = 1e300, sum = 0;
  bigint counted = 0;
  for (int i = 0; i < atom->nlocal; i++) {
    if (members[0].kind_of_type[atom->type[i]] < 0) continue;
    double variance = 0;
    for (int k = 0; k < 3; k++) {
      double mean = 0;
      for (const Member& m : members) mean += m.forces[3 * i + k] / models;
      for (const Member& m : members) variance += std::pow(m.forces[3 * i + k] - mean, 2) / models;
    }
    const double d = std::sqrt(variance);
    most = std::max(most, d), least = std::min(least, d), sum += d, counted++;
  }
  bigint all;
  MPI_Allreduce(&counted, &all, 1, MPI_LMP_BIGINT, MPI_SUM, world);
  if (!all) return;
  MPI_Allreduce(&most, &deviation[3], 1, MPI_DOUBLE, MPI_MAX, world);
  MPI_Allreduce(&least, &deviation[4], 1, MPI_DOUBLE, MPI_MIN, world);
  MPI_Allreduce(&sum, &deviation[5], 1, MPI_DOUBLE, MPI_SUM, world);
  deviation[5] /= static_cast<double>(all);

  double virials[9] = {}, squares[9] = {};  // nine components: xy and yx count both
  for (Member& member : members) {
    double v[6];
    MPI_Allreduce(member.virial, v, 6, MPI_DOUBLE, MPI_SUM, world);
    std::copy_n(v, 6, member.virial);
    for (int k = 0; k < 6; k++) virials[k] += v[k] / models;
  }
  for (const Member& member : members)
    for (int k = 0; k < 6; k++) squares[k] += std::pow(member.virial[k] - virials[k], 2) / models;
  for (int k = 3; k < 6; k++) squares[k + 3] = squares[k];
  const double atoms = static_cast<double>(all);
  double squared = 0;
  for (double& s : squares) squared += s / 9;
  deviation[0] = std::sqrt(*std::max_element(squares, squares + 9)) / atoms;
  deviation[1] = std::sqrt(*std::min_element(squares, squares + 9)) / atoms;
  deviation[2] = std::sqrt(squared) / atoms;
  if (comm->me) return;
  std::copy_n(deviation, 6, pvector);  // `compute pair` adds up the processes
  write_deviation();
}

void PairHuozi::write_deviation() {
  if (measured == update->ntimestep) return;  // a second `run` begins where the first ended
  measured = update->ntimestep;
  fprintf(deviation_file, "%12lld", static_cast<long long>(measured));
  for (const double d : deviation) fprintf(deviation_file, " %18.6e", d);
  fputc('\n', deviation_file);
  fflush(deviation_file);
}

int PairHuozi::pack_reverse_comm(int count, int first, double* buffer) {
  double* next = buffer;
  for (int i = first; i < first + count; i++)
    for (const Member& member : members)
      next = std::copy_n(&member.forces[3 * static_cast<std::size_t>(i)], 3, next);
  return static_cast<int>(next - buffer);
}

void PairHuozi::unpack_reverse_comm(int count, int* atoms, double* buffer) {
  for (int n = 0; n < count; n++)
    for (Member& member : members)
      for (int k = 0; k < 3; k++)
        member.forces[3 * static_cast<std::size_t>(atoms[n]) + k] += *buffer++;
}

double PairHuozi::memory_usage() {
  std::size_t bytes = (kinds.capacity() + keys.capacity()) * sizeof(int) +
                      atom_virials.capacity() * sizeof(double);
  for (const Member& member : members) bytes += member.forces.capacity() * sizeof(double);
  return static_cast<double>(bytes) + Pair::memory_usage();
}
