// lutllm_vrt.hpp for other languages. What returns an int returns 0, or 1 where lutllm_vrt_error() says what failed.

#include <csignal>

#include "lutllm_vrt.hpp"

using lutllm::VrtDevice;

static thread_local std::string message;

// Ctrl-C comes between two calls: within one it would break off a wait of the runtime, which cannot go on after that.
class Undisturbed {
 public:
  Undisturbed() {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGINT);
    pthread_sigmask(SIG_BLOCK, &one, &before_);
  }
  ~Undisturbed() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

template <typename Work>
static int guarded(Work work) {
  const Undisturbed undisturbed;
  try {
    work();
    return 0;
  } catch (const std::exception &error) {
    message = error.what();
  } catch (...) {
    message = "an exception that is none of the standard library";
  }
  return 1;
}

extern "C" {

// Of the last call of this thread that failed; until its next one does.
const char *lutllm_vrt_error() { return message.c_str(); }

int lutllm_vrt_open(const char *bdf, const char *vbin, uint64_t bytes, VrtDevice **device, uint64_t *base) {
  return guarded([&] {
    *device = new VrtDevice(bdf, vbin, bytes);
    *base = (*device)->base();
  });
}

int lutllm_vrt_close(VrtDevice *device) {
  return guarded([&] { delete device; });
}

int lutllm_vrt_read_register(VrtDevice *device, uint32_t offset, uint32_t *value) {
  return guarded([&] { *value = device->read_register(offset); });
}

int lutllm_vrt_write_register(VrtDevice *device, uint32_t offset, uint32_t value) {
  return guarded([&] { device->write_register(offset, value); });
}

int lutllm_vrt_write_memory(VrtDevice *device, uint64_t address, const uint8_t *data, uint64_t size) {
  return guarded([&] { device->write_memory(address, data, size); });
}

int lutllm_vrt_wait(VrtDevice *device, uint32_t *ended) {
  return guarded([&] { *ended = device->wait(); });
}

int lutllm_vrt_pause(VrtDevice *device) {
  return guarded([&] { device->pause(); });
}

int lutllm_vrt_reset(VrtDevice *device) {
  return guarded([&] { device->reset(); });
}
}
