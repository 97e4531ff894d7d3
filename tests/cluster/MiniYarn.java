import java.io.File;
import java.io.FileOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.hadoop.yarn.server.MiniYARNCluster;

/** Starts a resource manager and two node managers, and writes yarn-site.xml into the folder that is given. Runs until killed. */
public class MiniYarn {
    public static void main(String[] arguments) throws Exception {
        YarnConfiguration conf = new YarnConfiguration();
        conf.set("yarn.resourcemanager.scheduler.class",
            "org.apache.hadoop.yarn.server.resourcemanager.scheduler.capacity.CapacityScheduler");
        conf.set("yarn.scheduler.capacity.root.queues", "default");
        conf.set("yarn.scheduler.capacity.root.default.capacity", "100");
        conf.set("yarn.scheduler.capacity.maximum-am-resource-percent", "1.0");
        conf.setInt("yarn.scheduler.minimum-allocation-mb", 256);
        conf.setInt("yarn.nodemanager.resource.memory-mb", 6144);
        conf.setInt("yarn.nodemanager.resource.cpu-vcores", 4);
        conf.setBoolean("yarn.nodemanager.vmem-check-enabled", false);
        conf.setBoolean("yarn.nodemanager.pmem-check-enabled", false);
        conf.setFloat("yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", 99.9f);
        // The machine's credentials, as an instance profile would be: containers have them, no job names them.
        conf.set("yarn.nodemanager.env-whitelist",
            "JAVA_HOME,AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,AWS_EC2_METADATA_DISABLED,NO_PROXY,no_proxy");
        MiniYARNCluster cluster = new MiniYARNCluster("etr", 2, 1, 1);
        cluster.init(conf);
        cluster.start();
        File written = new File(arguments[0], "yarn-site.xml.new");
        try (FileOutputStream stream = new FileOutputStream(written)) {
            new Configuration(cluster.getConfig()).writeXml(stream);
        }
        written.renameTo(new File(arguments[0], "yarn-site.xml"));
        Thread.currentThread().join();
    }
}
