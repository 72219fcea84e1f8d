// C interface of the compiled kernel: load a model file, compute energies, forces and virials.
#pragma once

#include <stddef.h>

#define HUOZI_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct huozi_model huozi_model;

// NULL on failure; then `message` (of `size` bytes) says what was found and what to do.
HUOZI_API huozi_model* huozi_model_load(const char* path, char* message, size_t size);
// The same from the contents of a file.
HUOZI_API huozi_model* huozi_model_parse(const char* content, size_t length, char* message, size_t size);
// Of a file with several models, the one with this number, from 0; the functions above give 0.
HUOZI_API huozi_model* huozi_member_parse(const char* content, size_t length, int member,
                                          char* message, size_t size);
HUOZI_API int huozi_model_members(const huozi_model* model);  // models in the file it is from
HUOZI_API void huozi_model_free(huozi_model* model);
HUOZI_API double huozi_model_cutoff(const huozi_model* model);          // Å
HUOZI_API int huozi_model_elements(const huozi_model* model, int* numbers);  // numbers may be NULL
HUOZI_API int huozi_atomic_number(const char* symbol);  // 0: no such element

// Atoms with periodic copies ("ghosts") and their neighbours, as LAMMPS keeps them.
typedef struct {
  int local;              // atoms whose energy is asked for
  int total;              // with ghosts
  const double* positions;  // total * 3, Å
  const int* kinds;       // total; index of the element in the model, < 0: not seen by the model
  const int* counts;      // local; neighbours of each atom
  const int* const* neighbours;  // local rows; atoms < total, also beyond the
                                 // cutoff; the upper three bits are LAMMPS's and not read
} huozi_atoms;

// Adds to what the pointers hold; each but `energy` may be NULL. Virials are minus displacement
// times energy gradient, in the order xx yy zz yz xz xy.
typedef struct {
  double* energy;        // 1, eV, with E0
  double* energies;      // local, eV
  double* forces;        // total * 3, eV/Å
  double* virial;        // 6, eV
  double* atom_virials;  // total * 6, eV, on the atom that the force acts on
} huozi_output;

// 0, or 1 with a message.
HUOZI_API int huozi_compute(const huozi_model* model, const huozi_atoms* atoms, const huozi_output* output,
                  int threads, char* message, size_t size);

// Orders the neighbours of some atoms, `rows` of them, so that sums in float32 have the same bits
// whichever process owns an atom: by `keys` (total), which an atom shares with its ghosts alone and
// which are spread evenly over 32 bits, then by position. All else as in huozi_atoms.
HUOZI_API void huozi_order_neighbours(int rows, const int* atoms, const int* counts,
                                      int* const* neighbours, const unsigned* keys,
                                      const double* positions, int threads);

// Fills a table of n rows of `width` slots with all neighbours within the cutoff: index and reverse
// n * width, shift n * width * 3, mask n * width. Rows of `cell` are lattice vectors, `inverse` is
// its inverse, `periodic` holds three flags. Returns the slots that the fullest row needs; if that
// is more than `width`, the table is not valid.
HUOZI_API int huozi_neighbours(int n, const double* positions, const double* cell,
                               const double* inverse, const unsigned char* periodic, double cutoff,
                               int width, int* index, int* shift, int* reverse,
                               unsigned char* mask);

// What this machine reaches at best with so many threads: operations a second of a product of
// matrices in float32, and bytes read and written a second by a copy in memory. Takes a second.
HUOZI_API void huozi_machine_peak(int threads, double* flops, double* bytes);

// The instruction set in use: "avx512", "avx2" or "portable".
HUOZI_API const char* huozi_instruction_set(void);

#ifdef __cplusplus
}
#endif
