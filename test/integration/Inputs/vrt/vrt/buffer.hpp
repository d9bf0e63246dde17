// The part of SLASH's runtime that lutllm_vrt.hpp uses, over a socket to an accelerator simulated by the test: a board
// that can be programmed, which SLASH's own simulation cannot. Requests are a letter, an address and a size or value.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace vrt {

enum class Platform { HARDWARE, EMULATION, SIMULATION, UNKNOWN };
enum class MemoryRangeType { HBM, DDR, HBM_VNOC };
enum class SyncType { HOST_TO_DEVICE, DEVICE_TO_HOST };
enum class ProgramType { FLASH, JTAG };

namespace impl {
class Device {
 public:
  Device() : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{AF_UNIX, {}};
    std::strncpy(address.sun_path, std::getenv("LUTLLM_STANDIN"), sizeof address.sun_path - 1);
    if (::connect(socket_, reinterpret_cast<sockaddr *>(&address), sizeof address))
      throw std::runtime_error("nobody listens");
  }
  ~Device() { ::close(socket_); }
  Device(const Device &) = delete;

  void programDevice() { ask('p', 0, 0); }
  uint64_t ask(char what, uint64_t address, uint64_t value, const void *data = nullptr) {
    struct {
      uint64_t what, address, value;
    } request{uint64_t(what), address, value};
    uint64_t answer = 0;
    bool done = ::send(socket_, &request, sizeof request, MSG_NOSIGNAL) == sizeof request;
    for (uint64_t sent = 0; data && done && sent < value;) {
      const ssize_t part = ::send(socket_, static_cast<const char *>(data) + sent, value - sent, MSG_NOSIGNAL);
      done = part > 0;
      sent += part;
    }
    if (!done || ::recv(socket_, &answer, sizeof answer, MSG_WAITALL) != sizeof answer)
      throw std::runtime_error("the device\nhas gone");
    return answer;
  }

 private:
  int socket_;
};
}  // namespace impl

class Kernel {
 public:
  Kernel(std::shared_ptr<impl::Device> device) : device_(device) {}
  void write(uint32_t offset, uint32_t value) { device_->ask('w', offset, value); }
  uint32_t read(uint32_t offset) { return device_->ask('r', offset, 0); }

 private:
  std::shared_ptr<impl::Device> device_;
};

class Device {
 public:
  Device(const std::string &, const std::string &vbin, bool program = true, ProgramType = ProgramType::FLASH)
      : handle_(std::make_shared<impl::Device>()), emulated_(vbin.find("emu") != std::string::npos) {
    if (program) handle_->programDevice();
  }
  Kernel getKernel(const std::string &name) {
    if (name != "lut_accelerator_0") throw std::runtime_error("no kernel " + name);
    return {handle_};
  }
  uint64_t getMaxFrequency() { return 250000000; }
  void setFrequency(uint64_t hertz) { handle_->ask('c', 0, hertz); }
  Platform getPlatform() { return emulated_ ? Platform::EMULATION : Platform::HARDWARE; }
  std::shared_ptr<impl::Device> getHandle() const { return handle_; }

 private:
  std::shared_ptr<impl::Device> handle_;
  bool emulated_;
};

template <typename T>
class Buffer {
 public:
  Buffer(Device device, size_t size, MemoryRangeType, uint8_t port) : device_(device), data_(size) {
    address_ = device.getHandle()->ask('a', port, size * sizeof(T));
    if (!address_) throw std::bad_alloc();
  }
  T *get() const { return const_cast<T *>(data_.data()); }
  uint64_t getPhysAddr() const { return address_; }
  void sync(SyncType) { device_.getHandle()->ask('b', address_, data_.size() * sizeof(T), data_.data()); }

 private:
  Device device_;
  std::vector<T> data_;
  uint64_t address_;
};

}  // namespace vrt
