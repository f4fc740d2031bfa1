/*
 * The other side of the bench guest's network device: echo INTERFACE. Makes a tap interface of that name, says "ready",
 * and answers frames of ethertype 0x88b5 that arrive there (guests/bench/net.c sends them): sends them back, or sends a
 * burst of frames. Ends with its parent or by SIGTERM, and takes the interface away.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHERTYPE_REQUEST 0x88b5
#define REQUEST_ECHO 1
#define REQUEST_BURST 2
#define REQUEST_BURST_TCP 3
#define MAX_FRAME 65549
#define TCP_HEADERS 54
#define SEGMENT_BYTES 1448
#define MAX_BURST 256
/* The machine that uses the interface may end a little later. */
#define RELEASE_TRIES 50
#define RELEASE_PAUSE_US 100000

struct request {
  uint8_t to[ETH_ALEN], from[ETH_ALEN];
  uint16_t type;
  uint8_t what, unused;
  uint16_t count;
  uint32_t size;
} __attribute__((packed));

/* A frame behind the header that PACKET_VNET_HDR wants. */
struct burst_frame {
  struct virtio_net_hdr header;
  uint8_t frame[MAX_FRAME];
} __attribute__((packed));

static long check(const char *call, long result) {
  if (result >= 0) return result;
  fprintf(stderr, "%s: %s\n", call, strerror(errno));
  exit(1);
}

static const char *interface_name;

/* A descriptor attached to the tap, which is made if it is not there; -1 while a machine is attached. */
static int attach_tap(void) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  int fd = check("/dev/net/tun", open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  strncpy(request.ifr_name, interface_name, IFNAMSIZ - 1);
  if (ioctl(fd, TUNSETIFF, &request) == 0) return fd;
  close(fd);
  return -1;
}

static void remove_tap(int signal) {
  (void)signal;
  for (int i = 0; i < RELEASE_TRIES; i++) {
    int fd = attach_tap();
    if (fd >= 0) _exit(ioctl(fd, TUNSETPERSIST, 0) < 0);
    usleep(RELEASE_PAUSE_US);
  }
  _exit(1);
}

/* Up, and without the IPv6 solicitations that nobody asked for. */
static void create_tap(void) {
  char path[128];
  int fd = check("TUNSETIFF", attach_tap());
  check("TUNSETPERSIST", ioctl(fd, TUNSETPERSIST, 1));
  close(fd);
  signal(SIGTERM, remove_tap);
  signal(SIGINT, remove_tap);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface_name);
  fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0) check(path, write(fd, "1", 1));
  if (fd >= 0) close(fd);
  struct ifreq request = {.ifr_flags = IFF_UP};
  strncpy(request.ifr_name, interface_name, IFNAMSIZ - 1);
  fd = check("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  check("SIOCSIFFLAGS", ioctl(fd, SIOCSIFFLAGS, &request));
  close(fd);
}

static int open_packet(int protocol, int interface) {
  int fd = check("socket", socket(AF_PACKET, SOCK_RAW, htons(protocol)));
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = interface};
  check("bind", bind(fd, (struct sockaddr *)&address, sizeof address));
  return fd;
}

/* A TCP segment for the guest, larger than the interface's MTU: the host's stack leaves its division to the guest. */
static size_t make_tcp(struct burst_frame *burst, size_t size) {
  static const uint8_t headers[TCP_HEADERS - ETH_HLEN] = {
      0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1,
      0x20, 0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
  };
  uint8_t *ipv4 = burst->frame + ETH_HLEN;
  uint32_t sum = 0;
  memcpy(ipv4, headers, sizeof headers);
  ipv4[2] = (size - ETH_HLEN) >> 8;
  ipv4[3] = size - ETH_HLEN;
  for (int i = 0; i < 20; i += 2) sum += ipv4[i] << 8 | ipv4[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~(sum + (sum >> 16));
  ipv4[10] = sum >> 8;
  ipv4[11] = sum;
  burst->frame[12] = ETH_P_IP >> 8;
  burst->frame[13] = ETH_P_IP & 0xff;
  burst->header = (struct virtio_net_hdr){
      .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
      .hdr_len = TCP_HEADERS,
      .gso_size = SEGMENT_BYTES,
      .csum_start = ETH_HLEN + 20,
      .csum_offset = 16,
  };
  return size;
}

static void send_burst(int fd, const struct request *request) {
  static struct burst_frame burst;
  static struct mmsghdr messages[MAX_BURST];
  size_t size = request->size > MAX_FRAME ? MAX_FRAME : request->size < ETH_ZLEN ? ETH_ZLEN : request->size;
  unsigned count = request->count > MAX_BURST ? MAX_BURST : request->count;
  memset(&burst.header, 0, sizeof burst.header);
  memcpy(burst.frame, request->from, ETH_ALEN);
  memcpy(burst.frame + ETH_ALEN, request->to, ETH_ALEN);
  burst.frame[12] = ETHERTYPE_REQUEST >> 8;
  burst.frame[13] = ETHERTYPE_REQUEST & 0xff;
  if (request->what == REQUEST_BURST_TCP) make_tcp(&burst, size);
  struct iovec part = {.iov_base = &burst, .iov_len = sizeof burst.header + size};
  for (unsigned i = 0; i < count; i++)
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
  for (unsigned sent = 0; sent < count;) sent += check("sendmmsg", sendmmsg(fd, messages + sent, count - sent, 0));
}

int main(int argc, char **argv) {
  static union {
    struct request request;
    uint8_t bytes[MAX_FRAME];
  } frame;
  int on = 1;
  if (argc != 2) return 2;
  interface_name = argv[1];
  create_tap();
  int interface = check("if_nametoindex", (int)if_nametoindex(interface_name));
  int requests = open_packet(ETHERTYPE_REQUEST, interface);
  /* Protocol 0: receives nothing. */
  int bursts = open_packet(0, interface);
  check("PACKET_VNET_HDR", setsockopt(bursts, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on));
  puts("ready");
  fflush(stdout);
  for (;;) {
    long length = recv(requests, &frame, sizeof frame, 0);
    /* The interface goes down when its machine ends. */
    if (length < 0 && (errno == ENETDOWN || errno == EINTR)) continue;
    check("recv", length);
    if ((size_t)length < sizeof frame.request) continue;
    if (frame.request.what == REQUEST_ECHO) {
      /* The bytes as they came: the guest tells its own by their type. */
      if (send(requests, &frame, length, 0) < 0 && errno != ENETDOWN && errno != ENOBUFS) check("send", -1);
    } else {
      send_burst(bursts, &frame.request);
    }
  }
}
