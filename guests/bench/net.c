/*
 * virtio-net, VIRTIO 1.2 §5.1, towards test/bench/echo.c on the other side of the tap. Frames with ETHERTYPE_REQUEST
 * ask that program for something; all others are nothing to the host and dropped by its stack.
 */
#include "memory.h"
#include "print.h"
#include "queue.h"
#include "test.h"

#define VIRTIO_NET_F_CSUM (1ull << 0)
#define VIRTIO_NET_F_GUEST_CSUM (1ull << 1)
#define VIRTIO_NET_F_GUEST_TSO4 (1ull << 7)
#define VIRTIO_NET_F_HOST_TSO4 (1ull << 11)
#define VIRTIO_NET_F_MRG_RXBUF (1ull << 15)
#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1
#define VIRTIO_NET_HDR_GSO_TCPV4 1

#define RECEIVE 0
#define SEND 1
/* What Linux uses: a page per receive buffer, merged for larger frames. */
#define BUFFER_BYTES 4096
#define MAX_FRAME 65549
#define FRAME_STRIDE 0x11000
#define MAX_SENDS 128

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_REQUEST 0x88b5
#define ETHERTYPE_IGNORED 0x88b6
#define MAC_BYTES 6
#define TCP_HEADERS 54
#define SEGMENT_BYTES 1448

/* What the program on the host does with a request. */
#define REQUEST_ECHO 1
#define REQUEST_BURST 2
#define REQUEST_BURST_TCP 3
/* Frames per request for a burst, and requests under way. */
#define BURST 32
#define BURSTS 3

struct net_header {
  uint8_t flags, gso_type;
  uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
} __attribute__((packed));

struct frame {
  struct net_header header;
  uint8_t to[MAC_BYTES], from[MAC_BYTES];
  uint8_t type[2];
  /* Of a request; little-endian. */
  uint8_t what, unused;
  uint16_t count;
  uint32_t size;
  uint8_t rest[];
} __attribute__((packed));

struct net {
  const struct options *options;
  struct device *device;
  struct queue receive, send;
  uint8_t *buffers, *frames;
  uint8_t address[MAC_BYTES]; /* Copied: a read of the configuration space is an exit. */
  unsigned free_slots[MAX_SENDS], free_count;
  uint32_t sent_bytes[MAX_SENDS]; /* By slot, header included. */
};

/* Ethernet, IPv4 and TCP headers of a frame that a host drops, as for another station; lengths are put in later. */
static const uint8_t tcp_headers[TCP_HEADERS - 14] = {
    0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
};

static struct frame *frame_at(struct net *net, unsigned slot) {
  return (struct frame *)(net->frames + slot * FRAME_STRIDE);
}

static void put16(uint8_t *to, uint16_t value) {
  to[0] = value >> 8;
  to[1] = value;
}

/* One's complement sum over the IPv4 header. */
static uint16_t ipv4_checksum(const uint8_t *header) {
  uint32_t sum = 0;
  for (unsigned i = 0; i < 20; i += 2) sum += header[i] << 8 | header[i + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void make_frame(struct net *net, unsigned slot, uint32_t size, uint16_t type) {
  struct frame *frame = frame_at(net, slot);
  memset(frame, 0, sizeof *frame + size);
  /* A station that is not there, at a locally administered address. */
  for (unsigned i = 0; i < MAC_BYTES; i++) {
    frame->to[i] = i == 0 ? 0x02 : 0x99;
    frame->from[i] = net->address[i];
  }
  put16(frame->type, type);
  if (type != ETHERTYPE_IPV4) return;
  uint8_t *ipv4 = &frame->what;
  memcpy(ipv4, tcp_headers, sizeof tcp_headers);
  put16(ipv4 + 2, size - 14);
  put16(ipv4 + 10, ipv4_checksum(ipv4));
  frame->header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  frame->header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
  frame->header.hdr_len = TCP_HEADERS;
  frame->header.gso_size = SEGMENT_BYTES;
  frame->header.csum_start = 34;
  frame->header.csum_offset = 16;
}

/* One descriptor, or one per page for a large frame, as Linux has it. */
static void lay_frame(struct net *net, unsigned slot, uint32_t size) {
  struct part parts[MAX_PARTS];
  uint64_t at = (uintptr_t)frame_at(net, slot);
  uint32_t left = sizeof(struct net_header) + size;
  unsigned count = 0;
  while (left > 0) {
    uint32_t length = net->options->segmentation && left > BUFFER_BYTES ? BUFFER_BYTES : left;
    parts[count++] = (struct part){at, length, false};
    at += length;
    left -= length;
  }
  queue_lay(&net->send, slot, parts, count);
  net->sent_bytes[slot] = sizeof(struct net_header) + size;
}

static void send_frame(struct net *net, unsigned slot) {
  dma_map(net->device, (uintptr_t)frame_at(net, slot), net->sent_bytes[slot], false);
  queue_submit(&net->send, slot);
}

static void *buffer_at(struct net *net, unsigned slot) { return net->buffers + slot * BUFFER_BYTES; }

static void offer_buffer(struct net *net, unsigned slot) {
  dma_map(net->device, (uintptr_t)buffer_at(net, slot), BUFFER_BYTES, true);
  queue_submit(&net->receive, slot);
}

/* The slot of the next buffer that the device filled, or -1. */
static int take_buffer(struct net *net, uint32_t *length) {
  int slot = queue_take(&net->receive, length);
  if (slot >= 0) dma_unmap(net->device, (uintptr_t)buffer_at(net, slot), BUFFER_BYTES);
  return slot;
}

static void start_net(struct net *net, const struct options *options) {
  uint64_t offloads = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_HOST_TSO4;
  net->options = options;
  net->device = virtio_device(VIRTIO_ID_NET, options->device);
  net->buffers = (uint8_t *)DATA_START;
  net->frames = net->buffers + 256 * BUFFER_BYTES;
  for (unsigned i = 0; i < MAC_BYTES; i++) net->address[i] = net->device->config[i];
  virtio_reset(net->device, VIRTIO_NET_F_MRG_RXBUF | offloads | ring_features(options));
  if ((net->device->features & VIRTIO_NET_F_MRG_RXBUF) == 0) fail("the network device cannot merge buffers");
  if (options->segmentation && (~net->device->features & offloads) != 0) fail("the network device lacks offloads");
  if (options->size < 60 || options->size > MAX_FRAME) fail("a frame has 60 to 65549 bytes");
  dma_start(net->device, options->dma);
  queue_set_up(&net->receive, net->device, RECEIVE, 0, 1, options->interrupts);
  /* Linux takes no interrupts for what was sent while it sends. */
  unsigned parts = options->segmentation ? (MAX_FRAME + sizeof(struct net_header)) / BUFFER_BYTES + 1 : 1;
  queue_set_up(&net->send, net->device, SEND, 1, parts, INTERRUPTS_OFF);
  virtio_start(net->device);
  for (unsigned slot = 0; slot < net->receive.slots; slot++) {
    struct part part = {(uintptr_t)buffer_at(net, slot), BUFFER_BYTES, true};
    queue_lay(&net->receive, slot, &part, 1);
    offer_buffer(net, slot);
  }
  queue_notify(&net->receive);
  for (unsigned slot = 0; slot < MAX_SENDS && slot < net->send.slots; slot++) net->free_slots[net->free_count++] = slot;
}

static void collect_sent(struct net *net) {
  int slot;
  queue_arm(&net->send);
  while ((slot = queue_take(&net->send, NULL)) >= 0) {
    dma_unmap(net->device, (uintptr_t)frame_at(net, slot), net->sent_bytes[slot]);
    net->free_slots[net->free_count++] = slot;
  }
}

static void send_request(struct net *net, uint8_t what, uint16_t count, uint32_t size, uint32_t frame_size) {
  while (net->free_count == 0) {
    queue_wait(&net->send);
    collect_sent(net);
  }
  unsigned slot = net->free_slots[--net->free_count];
  struct frame *frame = frame_at(net, slot);
  make_frame(net, slot, frame_size, ETHERTYPE_REQUEST);
  frame->what = what;
  frame->count = count;
  frame->size = size;
  lay_frame(net, slot, frame_size);
  send_frame(net, slot);
  queue_notify(&net->send);
}

/* Takes one received frame and gives its buffers back; false if there is none yet. Frames of others do not count. */
static bool receive_frame(struct net *net, uint64_t *bytes) {
  struct queue *queue = &net->receive;
  uint32_t length;
  int slot = take_buffer(net, &length);
  if (slot < 0) return false;
  const struct frame *frame = buffer_at(net, slot);
  uint16_t type = frame->type[0] << 8 | frame->type[1];
  uint16_t buffers = frame->header.num_buffers;
  bool wanted = type == ETHERTYPE_REQUEST || type == ETHERTYPE_IPV4;
  uint64_t total = length - sizeof(struct net_header);
  offer_buffer(net, slot);
  for (unsigned i = 1; i < buffers; i++) {
    while ((slot = take_buffer(net, &length)) < 0)
      if (!queue_arm(queue)) queue_wait(queue);
    total += length;
    offer_buffer(net, slot);
  }
  if (wanted) *bytes += total;
  return wanted;
}

/* There and back, one frame at a time. */
void test_net_echo(const struct options *options) {
  static struct net net;
  uint64_t bytes = 0;
  net = (struct net){0};
  start_net(&net, options);
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t start = rdtsc();
    queue_arm(&net.receive);
    send_request(&net, REQUEST_ECHO, 1, 0, options->size);
    queue_wait(&net.receive);
    while (!receive_frame(&net, &bytes))
      if (!queue_arm(&net.receive)) queue_wait(&net.receive);
    keep_sample(rdtsc() - start);
    queue_notify(&net.receive);
    collect_sent(&net);
  }
  report_samples(options);
  report(options->word, "notifications", net.send.notifications + net.receive.notifications, "");
  virtio_reset(net.device, 0);
}

/* As many frames as the device takes. */
void test_net_send(const struct options *options) {
  static struct net net;
  net = (struct net){0};
  start_net(&net, options);
  for (unsigned i = 0; i < net.free_count; i++) {
    make_frame(&net, i, options->size, options->segmentation ? ETHERTYPE_IPV4 : ETHERTYPE_IGNORED);
    lay_frame(&net, i, options->size);
  }
  uint64_t left = options->count;
  unsigned all = net.free_count;
  uint64_t start = rdtsc();
  while (left > 0 || net.free_count < all) {
    for (; net.free_count > 0 && left > 0; left--) send_frame(&net, net.free_slots[--net.free_count]);
    queue_notify(&net.send);
    queue_wait(&net.send);
    collect_sent(&net);
  }
  report_rate(options, "frames/s", options->count, options->size, rdtsc() - start);
  report(options->word, "notifications", net.send.notifications, "");
  virtio_reset(net.device, 0);
}

/* As many frames as arrive; the host sends them in bursts that are asked for, so none is lost. */
void test_net_receive(const struct options *options) {
  static struct net net;
  uint8_t what = options->segmentation ? REQUEST_BURST_TCP : REQUEST_BURST;
  /* Merged frames take many buffers; less of them may be under way. */
  unsigned burst = options->segmentation ? 4 : BURST;
  uint64_t frames = 0, bytes = 0, asked = 0;
  net = (struct net){0};
  start_net(&net, options);
  uint64_t start = rdtsc();
  while (frames < options->count) {
    while (asked - frames <= burst * (BURSTS - 1)) {
      send_request(&net, what, burst, options->size, 60);
      asked += burst;
    }
    if (!queue_arm(&net.receive)) queue_wait(&net.receive);
    while (net.receive.used[1] != net.receive.used_index) frames += receive_frame(&net, &bytes);
    queue_notify(&net.receive);
    collect_sent(&net);
  }
  uint64_t cycles = rdtsc() - start;
  report_rate(options, "frames/s", frames, bytes / frames, cycles);
  report(options->word, "notifications", net.send.notifications + net.receive.notifications, "");
  virtio_reset(net.device, 0);
}
