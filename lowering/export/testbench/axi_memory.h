// A byte memory behind AXI4 masters. What it drives in a cycle depends on earlier cycles only, so that one evaluation
// settles the design. Anything AXI4 forbids the design to do is an error.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include "verilated.h"

[[noreturn]] inline void fail(const std::string &message) { throw std::runtime_error(message); }

// `latency`: cycles from an address to its first beat, or from the last beat written to its response, at least 1.
// `stalls`: chance in 256 that a channel pauses in a cycle. `outstanding`: bursts in flight.
struct Timing {
  uint64_t latency = 1;
  unsigned stalls = 0;
  unsigned outstanding = 32;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0x1234567u) {
    if (state_ == 0) state_ = 1;
  }
  bool chance(unsigned of_256) {
    if (of_256 == 0) return false;
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 24 & 255) < of_256;
  }

 private:
  uint64_t state_;
};

// What all masters share.
struct Memory {
  std::vector<uint8_t> bytes;
  Timing timing;
  Random random;
};

// Signals by reference, as the Verilated model holds them.
struct AddressChannel {
  CData &valid, &ready;
  QData &address;
  CData &length, &size, &burst;
};
struct ReadChannel {
  CData &valid, &ready, &last, &response;
  uint8_t *data;
};
struct WriteChannel {
  CData &valid, &ready, &last;
  uint8_t *data, *strobes;
};
struct ResponseChannel {
  CData &valid, &ready, &response;
};

template <class Signal>
uint8_t *bytes_of(Signal &signal) {
  return reinterpret_cast<uint8_t *>(&signal);
}

// One master: its address channel, and the bursts in flight.
class AxiPort {
 public:
  AxiPort(std::string name, Memory &memory, unsigned width, AddressChannel channel)
      : name_(std::move(name)), memory_(memory), width_(width), channel_(channel) {}
  virtual ~AxiPort() = default;

  virtual void offer(uint64_t cycle) = 0;  // drive the memory's side
  virtual bool take(uint64_t cycle) = 0;   // with outputs settled: do what was agreed on; whether anything was
  virtual std::string standing() const = 0;  // what waits for what, or nothing

 protected:
  struct Burst {
    uint64_t address;
    unsigned beats;
    uint64_t due;  // the cycle of its first beat, or of its response
  };

  bool pauses() { return memory_.random.chance(memory_.timing.stalls); }
  void offer_address() { channel_.ready = bursts_.size() < memory_.timing.outstanding && !pauses(); }

  bool take_address(uint64_t cycle) {
    if (!channel_.valid) {
      if (held_) refuse("took an address back before it was accepted", held_address_);
      return false;
    }
    if (held_ && channel_.address != held_address_) refuse("changed an address while it waited", held_address_);
    held_ = !channel_.ready;
    held_address_ = channel_.address;
    if (held_) return false;
    Burst burst{channel_.address, channel_.length + 1u, cycle + memory_.timing.latency};
    check(burst);
    bursts_.push_back(burst);
    return true;
  }

  void check(const Burst &burst) const {
    const uint64_t size = uint64_t{burst.beats} * width_;
    if (channel_.burst != 1 || 1u << channel_.size != width_) refuse("has a burst that is not INCR", burst.address);
    if (burst.address % width_) refuse("has a burst that is not aligned to its width", burst.address);
    if (burst.address % 4096 + size > 4096) refuse("has a burst across a 4 KB boundary", burst.address);
    if (burst.address > memory_.bytes.size() || size > memory_.bytes.size() - burst.address)
      refuse("has a burst outside the memory", burst.address);
  }

  [[noreturn]] void refuse(const std::string &what, uint64_t address) const {
    char text[32];
    std::snprintf(text, sizeof text, ", address 0x%llx", static_cast<unsigned long long>(address));
    fail(name_ + " " + what + text);
  }

  std::string line(const std::string &waits) const {
    return waits.empty() ? "" : name_ + ": " + waits + " (" + std::to_string(bursts_.size()) + " bursts in flight)\n";
  }
  std::string address_standing(const char *letters) const {
    return channel_.valid ? name_ + ": " + letters + "valid waits for " + letters + "ready\n" : "";
  }

  std::string name_;
  Memory &memory_;
  unsigned width_;  // bytes of a beat
  AddressChannel channel_;
  std::deque<Burst> bursts_;

 private:
  bool held_ = false;  // an address waits to be accepted
  uint64_t held_address_ = 0;
};

class ReadPort : public AxiPort {
 public:
  ReadPort(std::string name, Memory &memory, unsigned width, AddressChannel channel, ReadChannel read)
      : AxiPort(std::move(name), memory, width, channel), read_(read) {
    read_.response = 0;
  }

  void offer(uint64_t cycle) override {
    offer_address();
    if (offered_) return;
    offered_ = !bursts_.empty() && bursts_.front().due <= cycle && !pauses();
    read_.valid = offered_;
    read_.last = offered_ && bursts_.front().beats == 1;
    if (offered_)
      std::memcpy(read_.data, &memory_.bytes[bursts_.front().address], width_);
    else
      std::memset(read_.data, 0xEE, width_);  // a design that looks at it fails
  }

  bool take(uint64_t cycle) override {
    const bool moved = offered_ && read_.ready;
    if (moved) {
      Burst &burst = bursts_.front();
      burst.address += width_;
      if (--burst.beats == 0) bursts_.pop_front();
      offered_ = false;
    }
    return take_address(cycle) | moved;
  }

  std::string standing() const override {
    std::string waits = offered_ ? "rvalid waits for rready" : bursts_.empty() ? "" : "memory has no beat yet";
    return address_standing("ar") + line(waits);
  }

 private:
  ReadChannel read_;
  bool offered_ = false;  // a beat waits to be taken
};

class WritePort : public AxiPort {
 public:
  WritePort(std::string name, Memory &memory, unsigned width, AddressChannel channel, WriteChannel write,
            ResponseChannel response)
      : AxiPort(std::move(name), memory, width, channel), write_(write), response_(response) {
    response_.response = 0;
  }

  void offer(uint64_t cycle) override {
    offer_address();
    write_.ready = bursts_.size() > filled_ && !pauses();
    if (answered_) return;
    answered_ = filled_ > 0 && bursts_.front().due <= cycle && !pauses();
    response_.valid = answered_;
  }

  bool take(uint64_t cycle) override {
    const bool answered = answered_ && response_.ready;
    if (answered) {
      bursts_.pop_front();
      --filled_;
      answered_ = false;
    }
    const bool moved = take_beat(cycle);
    return take_address(cycle) | moved | answered;
  }

  std::string standing() const override {
    std::string waits;
    if (answered_)
      waits = "bvalid waits for bready";
    else if (write_.valid)
      waits = "wvalid waits for wready";
    else if (!bursts_.empty())
      waits = bursts_.size() > filled_ ? "memory waits for wvalid" : "response under way";
    return address_standing("aw") + line(waits);
  }

 private:
  bool take_beat(uint64_t cycle) {
    if (!write_.valid || !write_.ready) return false;
    Burst &burst = bursts_[filled_];
    for (unsigned i = 0; i < width_; ++i)
      if (write_.strobes[i / 8] >> i % 8 & 1) memory_.bytes[burst.address + i] = write_.data[i];
    if (write_.last != (burst.beats == 1)) refuse("has wlast at the wrong beat", burst.address);
    burst.address += width_;
    if (--burst.beats == 0) {
      burst.due = cycle + memory_.timing.latency;
      ++filled_;
    }
    return true;
  }

  WriteChannel write_;
  ResponseChannel response_;
  size_t filled_ = 0;  // bursts whose data is all here
  bool answered_ = false;  // a response waits to be taken
};

#define AXI_ADDRESS(top, name, a) \
  {top.name##_##a##valid, top.name##_##a##ready, top.name##_##a##addr, \
   top.name##_##a##len,   top.name##_##a##size,  top.name##_##a##burst}
#define READ_PORT(top, memory, name)                                                                              \
  std::make_unique<ReadPort>(                                                                                     \
      #name, memory, sizeof(top.name##_rdata), AddressChannel AXI_ADDRESS(top, name, ar),                         \
      ReadChannel{top.name##_rvalid, top.name##_rready, top.name##_rlast, top.name##_rresp, bytes_of(top.name##_rdata)})
#define WRITE_PORT(top, memory, name)                                                                       \
  std::make_unique<WritePort>(                                                                              \
      #name, memory, sizeof(top.name##_wdata), AddressChannel AXI_ADDRESS(top, name, aw),                   \
      WriteChannel{top.name##_wvalid, top.name##_wready, top.name##_wlast, bytes_of(top.name##_wdata),      \
                   bytes_of(top.name##_wstrb)},                                                             \
      ResponseChannel{top.name##_bvalid, top.name##_bready, top.name##_bresp})
