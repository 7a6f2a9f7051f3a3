// SPDX-License-Identifier: MIT
// libbpf's calls with errors that say what to do.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "probes/lib/hooks.hpp"

struct bpf_object;
struct bpf_object_skeleton;
struct bpf_map;
struct bpf_link;

namespace ublkbench::probes {

/// Keeps libbpf's own messages off the terminal; the last error of them joins ours.
void quiet_libbpf();

struct DestroyLink {
  void operator()(bpf_link* link) const;
};
using Links = std::vector<std::unique_ptr<bpf_link, DestroyLink>>;

/// Loads what is enabled in the skeleton, attaches it, and on failure leaves nothing attached.
/// The links are those of "entry" and "leave"; the skeleton owns the others.
Result<Links> load_and_attach(bpf_object_skeleton* skeleton, const std::string& probe,
                              const ChosenHooks& hooks);

/// How often a program of the object should have run and did not: it was preempted or interrupted
/// on the same CPU while it ran. Events are missing from what was counted then.
std::uint64_t missed_runs(bpf_object* object, const Links& links);

/// Whether programs may read a number at an address without copying it: bpf_rdonly_cast() to void,
/// Linux 6.17 (f2362a57).
bool kernel_can_peek();

/// One element of an array map, by value.
Result<> read_element(const bpf_map* map, unsigned index, void* value, std::size_t bytes);

/// The key after `previous`, or the first without one; false at the end.
bool next_key(const bpf_map* map, const void* previous, void* key, std::size_t bytes);
/// False where the element is gone.
bool look_up(const bpf_map* map, const void* key, std::size_t key_bytes, void* value,
             std::size_t value_bytes);

/// All elements of a hash.
template <class Key, class Value, class Less = std::less<Key>>
std::map<Key, Value, Less> elements_of(const bpf_map* map) {
  std::map<Key, Value, Less> elements;
  Key key{};
  const void* previous = nullptr;
  while (next_key(map, previous, &key, sizeof(key))) {
    previous = &key;
    Value value{};
    if (look_up(map, &key, sizeof(key), &value, sizeof(value))) elements.emplace(key, value);
  }
  return elements;
}

/// How many elements a per-CPU map has for each index.
Result<unsigned> possible_cpus();

/// The elements of all CPUs of a per-CPU array. sizeof(Value) must be a multiple of 8.
template <class Value>
Result<std::vector<Value>> read_element_of_cpus(const bpf_map* map, unsigned index) {
  static_assert(sizeof(Value) % 8 == 0);
  const auto cpus = possible_cpus();
  if (!cpus) return std::unexpected(cpus.error());
  std::vector<Value> values(*cpus);
  if (auto read = read_element(map, index, values.data(), values.size() * sizeof(Value)); !read)
    return std::unexpected(read.error());
  return values;
}

}  // namespace ublkbench::probes
